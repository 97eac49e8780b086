/* Counting on a RISC-V: cycles on hardware (mcycle), instructions in an emulator whose clock, and with it that counter, advances
 * by a fixed time an instruction. Which of them it is gets measured at start-up with a loop of known length, so that a
 * machine that can do neither says so. */
#include "counter_loop.h"


static uint64_t started;
static uint8_t kind;

/* The whole counter: its upper half may advance between two reads. */
uint64_t riscv_cycles(void)
{
    uint32_t low, high, again;
    do {
        __asm__ volatile("csrr %0, mcycleh" : "=r"(high));
        __asm__ volatile("csrr %0, mcycle" : "=r"(low));
        __asm__ volatile("csrr %0, mcycleh" : "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

/* Counters stand still after reset on some cores; on those that cannot stop them the register is missing, which traps. */
static void allow_counters(void)
{
    __asm__ volatile("la t0, 1f\n"
                     "csrrw t0, mtvec, t0\n"
                     "csrw 0x320, zero\n" /* mcountinhibit */
                     ".balign 4\n"
                     "1: csrw mtvec, t0\n" ::
                         : "t0", "memory");
}

static void spin(void)
{
    uint32_t loops = LOOPS;
    __asm__ volatile("1: addi %0, %0, -1\n"
                     "bnez %0, 1b\n"
                     : "+r"(loops));
}

void counter_start(void *context)
{
    (void)context;
    started = riscv_cycles();
}

uint64_t counter_read(void *context)
{
    uint64_t ticks = riscv_cycles() - started;
    (void)context;
    if (kind == SNE_COUNTER_INSTRUCTIONS) {
        ticks = (ticks * BOARD_TICK_NUMERATOR + BOARD_TICK_DENOMINATOR / 2u) / BOARD_TICK_DENOMINATOR;
    }
    return ticks;
}

sne_counter counter_init(void)
{
    allow_counters();
    return find_kind(&kind, spin);
}
