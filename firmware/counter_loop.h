/* A loop of known length, by which a counter finds out at start-up what this machine can count: instructions, cycles or
 * nothing. For the counter's own file alone. */
#ifndef COUNTER_LOOP_H
#define COUNTER_LOOP_H

#include "board.h"
#include "port.h"

/* The loop: two instructions, this often; and the difference that the code around it may make. */
enum { LOOPS = 1000, SLACK = 8 };

static uint64_t measure(void (*work)(void))
{
    counter_start(0);
    work();
    return counter_read(0);
}

static void nothing(void)
{
}

/* Count of the loop `spin`, once it comes out the same three times running (an emulator's first reading of a device may be
 * off, and so may a first pass through a cold cache); 0 where it never does. */
static uint64_t loop_count(void (*spin)(void))
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

/* What `counter_read` counts, as `kind` tells it to. */
static sne_counter find_kind(uint8_t *kind, void (*spin)(void))
{
    uint64_t count;
#if BOARD_TICK_NUMERATOR
    *kind = SNE_COUNTER_INSTRUCTIONS;
    count = loop_count(spin);
    if (count >= 2u * LOOPS - SLACK && count <= 2u * LOOPS + SLACK) {
        return SNE_COUNTER_INSTRUCTIONS;
    }
#endif
    *kind = SNE_COUNTER_NONE;
    count = loop_count(spin);
    /* Two instructions a loop take at least two cycles, and no core needs more than ten. */
    if (BOARD_CLOCK_HZ != 0 && count >= 2u * LOOPS - SLACK && count <= 10u * LOOPS) {
        *kind = SNE_COUNTER_CYCLES;
    }
    return (sne_counter)*kind;
}

#endif
