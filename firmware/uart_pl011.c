/* Arm PL011 UART on two pins of an RP2040 or RP2350 (datasheets 4.2 and 12.1; pads 2.19.6.3 and 9.11.3). */
#include "uart.h"

enum { DATA = 0x00, FLAGS = 0x18, INTEGER = 0x24, FRACTION = 0x28, LINE = 0x2c, CONTROL = 0x30, LEVELS = 0x34, MASK = 0x38, CLEAR = 0x44 };
enum { RX_EMPTY = 1 << 4, TX_FULL = 1 << 5, FIFOS = 1 << 4, EIGHT_BITS = 3 << 5, RX_INTERRUPT = 1 << 4, RX_TIMEOUT = 1 << 6 };
enum { UART_ENABLE = 1 << 0, TX_ENABLE = 1 << 8, RX_ENABLE = 1 << 9, FUNCTION_UART = 2 };
enum { PAD_INPUT = 1 << 6, PAD_PULL_UP = 1 << 3, PAD_DRIVE = 1 << 4, PAD_SCHMITT = 1 << 1 }; /* an RP2350's isolation is off */

/* 64ths of the clock a sixteenth of a bit. */
static uint32_t divisor(uint32_t baud)
{
    return baud != 0 ? (uint32_t)(((uint64_t)UART_CLOCK_HZ * 4u + baud / 2u) / baud) : 0;
}

int uart_can(uint32_t baud)
{
    return divisor(baud) >= 64 && divisor(baud) <= 0xffffu * 64u && uart_near(UART_CLOCK_HZ, divisor(baud) / 4u, baud);
}

void uart_set_rate(uint32_t baud)
{
    *uart_register(INTEGER) = divisor(baud) >> 6;
    *uart_register(FRACTION) = divisor(baud) & 63u;
    *uart_register(LINE) = EIGHT_BITS | FIFOS; /* written last: it takes the divisors over */
}

static void connect(uint32_t pin, uint32_t pad)
{
    *(volatile uint32_t *)(uintptr_t)(BOARD_PADS_BANK0_BASE + 4 + 4 * pin) = pad;
    *(volatile uint32_t *)(uintptr_t)(BOARD_IO_BANK0_BASE + 4 + 8 * pin) = FUNCTION_UART;
}

void uart_init(void)
{
    *uart_register(CONTROL) = 0;
    uart_set_rate(BOARD_BAUD);
    *uart_register(LEVELS) = 0; /* an interrupt at an eighth, or when the line rests */
    *uart_register(CONTROL) = UART_ENABLE | TX_ENABLE | RX_ENABLE;
    connect(BOARD_TX_PIN, PAD_INPUT | PAD_DRIVE | PAD_SCHMITT);
    connect(BOARD_RX_PIN, PAD_INPUT | PAD_DRIVE | PAD_SCHMITT | PAD_PULL_UP);
    *uart_register(MASK) = RX_INTERRUPT | RX_TIMEOUT;
}

void uart_send(uint8_t byte)
{
    while (*uart_register(FLAGS) & TX_FULL) {
    }
    *uart_register(DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    *uart_register(CLEAR) = RX_INTERRUPT | RX_TIMEOUT;
    if (*uart_register(FLAGS) & RX_EMPTY) {
        return 0;
    }
    *byte = (uint8_t)*uart_register(DATA);
    return 1;
}
