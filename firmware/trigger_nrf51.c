/* A pin of Nordic's nRF51 (nRF51 Series Reference Manual, GPIO). */
#include <stdint.h>

#include "board.h"
#include "trigger.h"

enum { OUT_SET = 0x508, OUT_CLEAR = 0x50c, DIRECTION_SET = 0x518 };

static volatile uint32_t *gpio(uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(0x50000000u + offset);
}

void trigger_init(void)
{
    *gpio(OUT_CLEAR) = 1u << BOARD_TRIGGER_PIN;
    *gpio(DIRECTION_SET) = 1u << BOARD_TRIGGER_PIN;
}

void trigger_set(void *context, int high)
{
    (void)context;
    *gpio(high ? OUT_SET : OUT_CLEAR) = 1u << BOARD_TRIGGER_PIN;
}
