/* SiFive's UART (FE310, QEMU's sifive_e). */
#include "uart.h"

enum { TX_DATA = 0x00, RX_DATA = 0x04, TX_CONTROL = 0x08, RX_CONTROL = 0x0c, INTERRUPTS = 0x10, DIVISOR = 0x18 };
enum { ENABLE = 1, RX_INTERRUPT = 2 };
static const uint32_t TX_FULL = 1u << 31, RX_EMPTY = 1u << 31;

enum { LEAST_DIVISOR = 16, MOST_DIVISOR = 0x10000 };

int uart_can(uint32_t baud)
{
    const uint32_t divisor = baud != 0 ? BOARD_UART_CLOCK_HZ / baud : 0;
    return divisor >= LEAST_DIVISOR && divisor <= MOST_DIVISOR && uart_near(BOARD_UART_CLOCK_HZ, divisor, baud);
}

void uart_set_rate(uint32_t baud)
{
    *uart_register(DIVISOR) = BOARD_UART_CLOCK_HZ / baud - 1u;
}

void uart_init(void)
{
    uart_set_rate(BOARD_BAUD);
    *uart_register(TX_CONTROL) = ENABLE;
    *uart_register(RX_CONTROL) = ENABLE; /* and interrupt from the first byte on */
    *uart_register(INTERRUPTS) = RX_INTERRUPT;
}

void uart_send(uint8_t byte)
{
    while (*uart_register(TX_DATA) & TX_FULL) {
    }
    *uart_register(TX_DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    const uint32_t data = *uart_register(RX_DATA);
    *byte = (uint8_t)data;
    return !(data & RX_EMPTY);
}
