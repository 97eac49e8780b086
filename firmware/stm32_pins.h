/* What the UART drivers of the STM32s share: clocks of a port and of a UART, and two pins given to it. Registers are the same in
 * RM0090, RM0390, RM0432 and RM0433, "General-purpose I/Os"; the port, the pins and the function are the board's. */
#ifndef STM32_PINS_H
#define STM32_PINS_H

#include "uart.h"

enum { MODER = 0x00, PUPDR = 0x0c, AFR = 0x20 };

static inline void stm32_replace(uint32_t address, uint32_t mask, uint32_t value)
{
    volatile uint32_t *reg = (volatile uint32_t *)(uintptr_t)address;
    *reg = (*reg & ~mask) | value;
}

static inline void stm32_connect(uint32_t pin)
{
    stm32_replace(BOARD_GPIO_BASE + AFR + pin / 8 * 4, 15u << pin % 8 * 4, (uint32_t)BOARD_GPIO_FUNCTION << pin % 8 * 4);
    stm32_replace(BOARD_GPIO_BASE + PUPDR, 3u << pin * 2, 1u << pin * 2); /* an open receive line reads idle */
    stm32_replace(BOARD_GPIO_BASE + MODER, 3u << pin * 2, 2u << pin * 2);
}

static inline void stm32_connect_uart(void)
{
    stm32_replace(BOARD_GPIO_ENABLE, 0, 1u << BOARD_GPIO_ENABLE_BIT);
    stm32_replace(BOARD_UART_ENABLE, 0, 1u << BOARD_UART_ENABLE_BIT);
    stm32_connect(BOARD_TX_PIN);
    stm32_connect(BOARD_RX_PIN);
}

#endif
