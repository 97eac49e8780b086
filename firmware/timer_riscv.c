/* Time on a RISC-V, from its cycle counter: real where the board's clock is known, an emulator's virtual time otherwise. It runs
 * on whatever is counted, and interrupts nobody: a pause is spent awake. */
#include "board.h"
#include "port.h"

static uint64_t started;

static uint64_t passed(uint32_t a_second)
{
    uint64_t hz = BOARD_EMULATED_TICK_HZ, ticks = riscv_cycles() - started;
#if BOARD_CLOCK_HZ
    if (port_platform()->counter != SNE_COUNTER_INSTRUCTIONS) {
        hz = BOARD_CLOCK_HZ;
    }
#endif
    return ticks / hz * a_second + ticks % hz * a_second / hz;
}

void timer_start(void)
{
    started = riscv_cycles();
}

uint32_t timer_milliseconds(void)
{
    return (uint32_t)passed(1000u);
}

void timer_stop(void)
{
}

void timer_pause(void *context, uint32_t milliseconds)
{
    (void)context;
    timer_start();
    while (timer_milliseconds() < milliseconds) {
    }
}

void clock_start(void)
{
    timer_start();
}

uint64_t clock_microseconds(void *context)
{
    (void)context;
    return passed(1000000u);
}
