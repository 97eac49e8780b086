/* Counting: cycles on hardware (DWT, or SysTick on cores without it), instructions in an emulator whose clock advances
 * by a fixed time an instruction. Which of them it is gets measured at start-up with a loop of known length, so that a
 * machine that can do neither says so. */
#include "counter_loop.h"

/* SysTick, an Arm core's own 24-bit down counter. */
enum { SYST_ENABLE = 1, SYST_INTERRUPT = 2, SYST_CORE_CLOCK = 4, SYST_TOP = 0xffffff };
static const uint32_t SYST_CSR = 0xe000e010u, SYST_RVR = 0xe000e014u, SYST_CVR = 0xe000e018u;
static const uint32_t ICSR = 0xe000ed04u, ICSR_PENDSTCLR = 1u << 25;

/* Instructions that systick_interrupt takes; taken off again, once a wrap. */
enum { INTERRUPT_INSTRUCTIONS = 5 };

volatile uint32_t systick_wraps;
static uint8_t kind, has_dwt;

/* Always the same instructions, whatever the compiler: see INTERRUPT_INSTRUCTIONS. */
__attribute__((naked)) void systick_interrupt(void)
{
    __asm__ volatile(".syntax unified\n"
                     "ldr r0, =%c0\n"
                     "ldr r1, [r0]\n"
                     "adds r1, #1\n"
                     "str r1, [r0]\n"
                     "bx lr\n"
                     ".ltorg\n"
                     :
                     : "i"(&systick_wraps));
}

#if BOARD_CLOCK_HZ && !defined(__ARM_ARCH_6M__)
static const uint32_t DEMCR = 0xe000edfcu, DWT_CTRL = 0xe0001000u, DWT_CYCCNT = 0xe0001004u, DWT_LAR = 0xe0001fb0u;

static void start_dwt(void)
{
    *core_register(DEMCR) |= 1u << 24;
    *core_register(DWT_LAR) = 0xc5acce55u; /* a Cortex-M7 wants its key; others ignore it */
    *core_register(DWT_CTRL) |= 1u;
    *core_register(DWT_CYCCNT) = 0;
}

static uint32_t read_dwt(void)
{
    return *core_register(DWT_CYCCNT);
}
#else
static void start_dwt(void)
{
}

static uint32_t read_dwt(void)
{
    return 0;
}
#endif

static void spin(void)
{
    uint32_t loops = LOOPS;
    __asm__ volatile(".syntax unified\n"
                     "1: subs %0, #1\n"
                     "bne 1b\n"
                     : "+l"(loops)
                     :
                     : "cc");
}

void counter_start(void *context)
{
    (void)context;
    if (has_dwt) {
        start_dwt();
        return;
    }
    /* From a standing start each time, so that equal work reads equal whatever the phase of the clock. */
    *core_register(SYST_CSR) = 0;
    *core_register(SYST_RVR) = SYST_TOP;
    *core_register(SYST_CVR) = 0;
    *core_register(ICSR) = ICSR_PENDSTCLR;
    systick_wraps = 0;
    *core_register(SYST_CSR) = SYST_ENABLE | SYST_INTERRUPT | SYST_CORE_CLOCK;
}

uint64_t counter_read(void *context)
{
    uint32_t high, low;
    uint64_t ticks;
    (void)context;
    if (has_dwt) {
        return read_dwt();
    }
    do {
        high = systick_wraps;
        low = *core_register(SYST_CVR);
    } while (high != systick_wraps);
    *core_register(SYST_CSR) = 0; /* no interrupts while idle */
    ticks = ((uint64_t)high << 24) + ((0u - low) & (uint32_t)SYST_TOP);
    if (kind == SNE_COUNTER_INSTRUCTIONS) {
        ticks = (ticks * BOARD_TICK_NUMERATOR + BOARD_TICK_DENOMINATOR / 2u) / BOARD_TICK_DENOMINATOR;
        ticks -= (uint64_t)high * INTERRUPT_INSTRUCTIONS;
    }
    return ticks;
}

sne_counter counter_init(void)
{
    start_dwt();
    spin();
    has_dwt = read_dwt() != 0;
    if (has_dwt) {
        kind = SNE_COUNTER_CYCLES;
        return SNE_COUNTER_CYCLES;
    }
    return find_kind(&kind, spin);
}
