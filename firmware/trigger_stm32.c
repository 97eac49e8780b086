/* A pin of port A of an STM32F4 (RM0090, GPIO registers). */
#include <stdint.h>

#include "board.h"
#include "trigger.h"

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static const uint32_t RCC_AHB1ENR = 0x40023830u, MODER = 0x40020000u, BSRR = 0x40020018u;

void trigger_init(void)
{
    *at(RCC_AHB1ENR) |= 1u; /* port A's clock */
    trigger_set(0, 0);
    *at(MODER) = (*at(MODER) & ~(3u << 2 * BOARD_TRIGGER_PIN)) | 1u << 2 * BOARD_TRIGGER_PIN; /* an output */
}

void trigger_set(void *context, int high)
{
    (void)context;
    *at(BSRR) = 1u << (high ? BOARD_TRIGGER_PIN : BOARD_TRIGGER_PIN + 16);
}
