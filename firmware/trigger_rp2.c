/* A pin of an RP2040 or RP2350, by the single-cycle IO block (datasheets 2.3.1 and 3.1; functions 2.19.2 and 9.4; pads 2.19.6.3 and 9.11.3),
 * whose registers lie apart in the two. What speed_rp2.c wakes are the pins and their pads. */
#include <stdint.h>

#include "board.h"
#include "trigger.h"

enum { FUNCTION_SIO = 5, PAD_DRIVE = 1 << 4, PAD_SCHMITT = 1 << 1 }; /* an RP2350's isolation is off */

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

void trigger_init(void)
{
    trigger_set(0, 0);
    *at(BOARD_SIO_OE_SET) = 1u << BOARD_TRIGGER_PIN;
    *at(BOARD_IO_BANK0_BASE + 4 + 8 * BOARD_TRIGGER_PIN) = FUNCTION_SIO;
    *at(BOARD_PADS_BANK0_BASE + 4 + 4 * BOARD_TRIGGER_PIN) = PAD_DRIVE | PAD_SCHMITT;
}

void trigger_set(void *context, int high)
{
    (void)context;
    *at(high ? BOARD_SIO_OUT_SET : BOARD_SIO_OUT_CLEAR) = 1u << BOARD_TRIGGER_PIN;
}
