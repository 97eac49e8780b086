/* ST USART1 of an STM32F4, on PA9 (transmit) and PA10 (receive). */
#include "uart.h"

enum { STATUS = 0x00, DATA = 0x04, BAUD_RATE = 0x08, CONTROL1 = 0x0c };
enum { OVERRUN = 1 << 3, RX_FULL = 1 << 5, TX_EMPTY = 1 << 7 };
enum { RX_ENABLE = 1 << 2, TX_ENABLE = 1 << 3, RX_INTERRUPT = 1 << 5, USART_ENABLE = 1 << 13 };

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void replace(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    *reg = (*reg & ~mask) | value;
}

enum { LEAST_DIVISOR = 16 };

static uint32_t divisor(uint32_t baud)
{
    return baud != 0 ? (BOARD_UART_CLOCK_HZ + baud / 2u) / baud : 0;
}

int uart_can(uint32_t baud)
{
    return divisor(baud) >= LEAST_DIVISOR && divisor(baud) <= 0xffffu && uart_near(BOARD_UART_CLOCK_HZ, divisor(baud), baud);
}

void uart_set_rate(uint32_t baud)
{
    *uart_register(BAUD_RATE) = divisor(baud);
}

void uart_init(void)
{
    const uint32_t rcc = 0x40023800u, gpio_a = 0x40020000u;
    replace(at(rcc + 0x30), 0, 1u << 0);                      /* AHB1ENR: GPIOA */
    replace(at(rcc + 0x44), 0, 1u << 4);                      /* APB2ENR: USART1 */
    replace(at(gpio_a + 0x00), 15u << 18, 2u << 18 | 2u << 20); /* MODER: alternate function */
    replace(at(gpio_a + 0x0c), 3u << 20, 1u << 20);           /* PUPDR: an open receive line reads idle */
    replace(at(gpio_a + 0x24), 0xffu << 4, 0x77u << 4);       /* AFRH: USART1 */
    uart_set_rate(BOARD_BAUD);
    *uart_register(CONTROL1) = USART_ENABLE | RX_INTERRUPT | TX_ENABLE | RX_ENABLE;
}

void uart_send(uint8_t byte)
{
    while (!(*uart_register(STATUS) & TX_EMPTY)) {
    }
    *uart_register(DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    /* An overrun, too, is cleared by reading the data; the lost byte shows in the frame's checksum. */
    if (!(*uart_register(STATUS) & (RX_FULL | OVERRUN))) {
        return 0;
    }
    *byte = (uint8_t)*uart_register(DATA);
    return 1;
}
