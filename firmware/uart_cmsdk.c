/* Arm CMSDK UART (MPS2 and MPS3 boards). */
#include "uart.h"

enum { DATA = 0x00, STATE = 0x04, CTRL = 0x08, INTCLEAR = 0x0c, BAUDDIV = 0x10 };
enum { TX_FULL = 1, RX_FULL = 2, RX_INTERRUPT = 2 };
enum { TX_ENABLE = 1, RX_ENABLE = 2, RX_INTERRUPT_ENABLE = 8 };

enum { LEAST_DIVISOR = 16 };

int uart_can(uint32_t baud)
{
    const uint32_t divisor = baud != 0 ? BOARD_UART_CLOCK_HZ / baud : 0;
    return divisor >= LEAST_DIVISOR && uart_near(BOARD_UART_CLOCK_HZ, divisor, baud);
}

void uart_set_rate(uint32_t baud)
{
    *uart_register(BAUDDIV) = BOARD_UART_CLOCK_HZ / baud;
}

void uart_init(void)
{
    uart_set_rate(BOARD_BAUD);
    *uart_register(CTRL) = TX_ENABLE | RX_ENABLE | RX_INTERRUPT_ENABLE;
}

void uart_send(uint8_t byte)
{
    while (*uart_register(STATE) & TX_FULL) {
    }
    *uart_register(DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    if (!(*uart_register(STATE) & RX_FULL)) {
        return 0;
    }
    /* Before reading: a byte that arrives in between must raise the interrupt again. */
    *uart_register(INTCLEAR) = RX_INTERRUPT;
    *byte = (uint8_t)*uart_register(DATA);
    return 1;
}
