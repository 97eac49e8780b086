/* Counting on a RISC-V: cycles on hardware (mcycle), instructions in an emulator whose clock, and with it that counter, advances
 * by a fixed time an instruction. Which of them it is gets measured at start-up with a loop of known length, so that a
 * machine that can do neither says so. */
#include "board.h"
#include "port.h"

/* The known loop: two instructions, this often; and the difference that the code around it may make. */
enum { LOOPS = 1000, SLACK = 8 };

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

static uint64_t measure(void (*work)(void))
{
    counter_start(0);
    work();
    return counter_read(0);
}

static void nothing(void)
{
}

/* Count of the known loop, once it comes out the same three times running (a first pass through a cold cache may be off); 0
 * where it never does. */
static uint64_t loop_count(void)
{
    uint64_t last = 0;
    int same = 0, i;
    for (i = 0; i < 10 && same < 2; i++) {
        const uint64_t count = measure(spin) - measure(nothing);
        same = count == last ? same + 1 : 0;
        last = count;
    }
    return same == 2 ? last : 0;
}

sne_counter counter_init(void)
{
    uint64_t count;
    allow_counters();
#if BOARD_TICK_NUMERATOR
    kind = SNE_COUNTER_INSTRUCTIONS;
    count = loop_count();
    if (count >= 2u * LOOPS - SLACK && count <= 2u * LOOPS + SLACK) {
        return SNE_COUNTER_INSTRUCTIONS;
    }
#endif
    kind = SNE_COUNTER_NONE;
    count = loop_count();
    /* Two instructions a loop take at least two cycles, and no core needs more than ten. */
    if (BOARD_CLOCK_HZ != 0 && count >= 2u * LOOPS - SLACK && count <= 10u * LOOPS) {
        kind = SNE_COUNTER_CYCLES;
    }
    return (sne_counter)kind;
}
