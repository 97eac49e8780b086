/* ST USART of an STM32F4 (RM0090 and RM0390, "USART registers"). */
#include "stm32_pins.h"

enum { STATUS = 0x00, DATA = 0x04, BAUD_RATE = 0x08, CONTROL1 = 0x0c };
enum { OVERRUN = 1 << 3, RX_FULL = 1 << 5, TX_EMPTY = 1 << 7 };
enum { RX_ENABLE = 1 << 2, TX_ENABLE = 1 << 3, RX_INTERRUPT = 1 << 5, USART_ENABLE = 1 << 13 };

enum { LEAST_DIVISOR = 16 };

static uint32_t divisor(uint32_t baud)
{
    return baud != 0 ? (UART_CLOCK_HZ + baud / 2u) / baud : 0;
}

int uart_can(uint32_t baud)
{
    return divisor(baud) >= LEAST_DIVISOR && divisor(baud) <= 0xffffu && uart_near(UART_CLOCK_HZ, divisor(baud), baud);
}

void uart_set_rate(uint32_t baud)
{
    *uart_register(BAUD_RATE) = divisor(baud);
}

void uart_init(void)
{
    stm32_connect_uart();
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
