/* National Semiconductor's 16550, a register a byte (QEMU's virt machines). */
#include "uart.h"

enum { DATA = 0, INTERRUPTS = 1, FIFO = 2, LINE = 3, STATUS = 5 };
enum { RX_INTERRUPT = 1, FIFO_ENABLE = 1, EIGHT_BITS = 3, DIVISOR_ACCESS = 0x80 };
enum { RX_READY = 1, TX_EMPTY = 1 << 5 };

static volatile uint8_t *byte_register(uint32_t offset)
{
    return (volatile uint8_t *)(uintptr_t)(BOARD_UART_BASE + offset);
}

static uint32_t divisor(uint32_t baud)
{
    return baud != 0 && baud <= BOARD_UART_CLOCK_HZ / 16u ? (BOARD_UART_CLOCK_HZ + 8u * baud) / (16u * baud) : 0;
}

int uart_can(uint32_t baud)
{
    return divisor(baud) <= 0xffffu && uart_near(BOARD_UART_CLOCK_HZ, 16u * divisor(baud), baud);
}

void uart_set_rate(uint32_t baud)
{
    const uint32_t by = divisor(baud);
    *byte_register(LINE) = DIVISOR_ACCESS | EIGHT_BITS;
    *byte_register(DATA) = (uint8_t)by;
    *byte_register(INTERRUPTS) = (uint8_t)(by >> 8);
    *byte_register(LINE) = EIGHT_BITS;
}

void uart_init(void)
{
    uart_set_rate(BOARD_BAUD);
    *byte_register(FIFO) = FIFO_ENABLE;
    *byte_register(INTERRUPTS) = RX_INTERRUPT;
}

void uart_send(uint8_t byte)
{
    while (!(*byte_register(STATUS) & TX_EMPTY)) {
    }
    *byte_register(DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    if (!(*byte_register(STATUS) & RX_READY)) {
        return 0;
    }
    *byte = *byte_register(DATA);
    return 1;
}
