/* A pin of an STM32: "General-purpose I/Os" of RM0090, RM0390, RM0432 and RM0433, whose registers are the same; the port and its clock
 * are the board's. */
#include "stm32_pins.h"
#include "trigger.h"

enum { BSRR = 0x18 };

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

void trigger_init(void)
{
    stm32_replace(BOARD_TRIGGER_ENABLE, 0, 1u << BOARD_TRIGGER_ENABLE_BIT);
    (void)*at(BOARD_TRIGGER_ENABLE); /* a port takes writes two cycles after it gets its clock */
    trigger_set(0, 0);
    stm32_replace(BOARD_TRIGGER_BASE + MODER, 3u << 2 * BOARD_TRIGGER_PIN, 1u << 2 * BOARD_TRIGGER_PIN); /* an output */
}

void trigger_set(void *context, int high)
{
    (void)context;
    *at(BOARD_TRIGGER_BASE + BSRR) = 1u << (high ? BOARD_TRIGGER_PIN : BOARD_TRIGGER_PIN + 16);
}
