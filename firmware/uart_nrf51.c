/* Nordic UART, of an nRF51 or an nRF52: on two pins, 32 times the port and the number there. */
#include "uart.h"

enum { START_RX = 0x000, START_TX = 0x008, RX_READY = 0x108, TX_READY = 0x11c, INTERRUPT_SET = 0x304 };
enum { ENABLE = 0x500, PIN_TX = 0x50c, PIN_RX = 0x514, RXD = 0x518, TXD = 0x51c, BAUD_RATE = 0x524 };
enum { RX_READY_INTERRUPT = 1 << 2, ENABLED = 4 };

enum { LEAST_BAUD = 1200, MOST_BAUD = 1000000 };

int uart_can(uint32_t baud)
{
    return baud >= LEAST_BAUD && baud <= MOST_BAUD;
}

/* 2^32 / 16 MHz a baud, rounded to the 20 bits the hardware has. */
void uart_set_rate(uint32_t baud)
{
    *uart_register(BAUD_RATE) = (uint32_t)((((uint64_t)baud << 32) / UART_CLOCK_HZ + 0x800u) & 0xfffff000u);
}

void uart_init(void)
{
    *uart_register(PIN_TX) = BOARD_TX_PIN;
    *uart_register(PIN_RX) = BOARD_RX_PIN;
    uart_set_rate(BOARD_BAUD);
    *uart_register(ENABLE) = ENABLED;
    *uart_register(RX_READY) = 0;
    *uart_register(INTERRUPT_SET) = RX_READY_INTERRUPT;
    *uart_register(START_TX) = 1;
    *uart_register(START_RX) = 1;
}

void uart_send(uint8_t byte)
{
    *uart_register(TX_READY) = 0;
    *uart_register(TXD) = byte;
    while (!*uart_register(TX_READY)) {
    }
}

int uart_receive(uint8_t *byte)
{
    if (!*uart_register(RX_READY)) {
        return 0;
    }
    /* Before reading: reading lets the next byte of the FIFO raise it again. */
    *uart_register(RX_READY) = 0;
    *byte = (uint8_t)*uart_register(RXD);
    return 1;
}
