/* SiFive's UART (FE310, QEMU's sifive_e). */
#include "uart.h"

enum { TX_DATA = 0x00, RX_DATA = 0x04, TX_CONTROL = 0x08, RX_CONTROL = 0x0c, INTERRUPTS = 0x10, DIVISOR = 0x18 };
enum { ENABLE = 1, RX_INTERRUPT = 2 };
static const uint32_t TX_FULL = 1u << 31, RX_EMPTY = 1u << 31;

void uart_init(void)
{
    *uart_register(DIVISOR) = BOARD_UART_CLOCK_HZ / BOARD_BAUD - 1u;
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
