/* Time, from SysTick: real where the board's clock is known, an emulator's virtual time otherwise. Not while counting. */
#include "board.h"
#include "port.h"
#include "uart.h"

enum { SYST_ENABLE = 1, SYST_INTERRUPT = 2, SYST_CORE_CLOCK = 4, SYST_TOP = 0xffffff };
static const uint32_t SYST_CSR = 0xe000e010u, SYST_RVR = 0xe000e014u, SYST_CVR = 0xe000e018u;
static const uint32_t ICSR = 0xe000ed04u, ICSR_PENDSTSET = 1u << 26, ICSR_PENDSTCLR = 1u << 25;

static uint32_t ticks_a_second(void)
{
#if BOARD_CLOCK_HZ
    if (port_platform()->counter != SNE_COUNTER_INSTRUCTIONS) {
        return CORE_CLOCK_HZ;
    }
#endif
    return BOARD_EMULATED_TICK_HZ;
}

static void start(uint32_t top)
{
    *core_register(SYST_CSR) = 0;
    *core_register(SYST_RVR) = top;
    *core_register(SYST_CVR) = 0;
    *core_register(ICSR) = ICSR_PENDSTCLR;
    systick_wraps = 0;
    *core_register(SYST_CSR) = SYST_ENABLE | SYST_INTERRUPT | SYST_CORE_CLOCK;
}

void timer_start(void)
{
    start(ticks_a_second() / 1000u - 1u);
}

uint32_t timer_milliseconds(void)
{
    return systick_wraps;
}

void timer_stop(void)
{
    *core_register(SYST_CSR) = 0;
}

/* Asleep, so that what a power monitor sees between inferences is the board at rest. */
void timer_pause(void *context, uint32_t milliseconds)
{
    (void)context;
    timer_start();
    while (timer_milliseconds() < milliseconds) {
        __asm__ volatile("wfi");
    }
    timer_stop();
}

void clock_start(void)
{
    start(SYST_TOP);
}

/* With interrupts off a wrap between two looks shows as pending. */
uint64_t clock_microseconds(void *context)
{
    const uint32_t hz = ticks_a_second();
    uint32_t high, low;
    uint64_t ticks;
    (void)context;
    __asm__ volatile("cpsid i" ::: "memory");
    low = *core_register(SYST_CVR);
    high = systick_wraps;
    if (*core_register(ICSR) & ICSR_PENDSTSET) {
        low = *core_register(SYST_CVR);
        high++;
    }
    __asm__ volatile("cpsie i" ::: "memory");
    ticks = ((uint64_t)high << 24) + ((0u - low) & (uint32_t)SYST_TOP);
    return ticks / hz * 1000000u + ticks % hz * 1000000u / hz;
}
