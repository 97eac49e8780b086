/* ST USART, or LPUART, of the newer kind: STM32L4+ (RM0432) and STM32H7 (RM0433), "USART registers". */
#include "stm32_pins.h"

enum { CONTROL1 = 0x00, BAUD_RATE = 0x0c, STATUS = 0x1c, CLEAR = 0x20, RX_DATA = 0x24, TX_DATA = 0x28 };
enum { OVERRUN = 1 << 3, RX_FULL = 1 << 5, TX_EMPTY = 1 << 7 };
enum { USART_ENABLE = 1 << 0, RX_ENABLE = 1 << 2, TX_ENABLE = 1 << 3, RX_INTERRUPT = 1 << 5 };
enum { LEAST_DIVISOR = 16, LEAST_DIVISOR_LOW_POWER = 0x300 };

/* An LPUART divides 256 times its clock. */
static uint32_t divisor(uint32_t baud)
{
    const uint64_t clock = (uint64_t)UART_CLOCK_HZ * (BOARD_LOW_POWER_UART ? 256u : 1u);
    return baud != 0 ? (uint32_t)((clock + baud / 2u) / baud) : 0;
}

int uart_can(uint32_t baud)
{
    const uint32_t found = divisor(baud);
    if (BOARD_LOW_POWER_UART) {
        return found >= LEAST_DIVISOR_LOW_POWER && found <= 0xfffffu;
    }
    return found >= LEAST_DIVISOR && found <= 0xffffu && uart_near(UART_CLOCK_HZ, found, baud);
}

/* The rate can be written only while the USART is off. */
void uart_set_rate(uint32_t baud)
{
    *uart_register(CONTROL1) = 0;
    *uart_register(BAUD_RATE) = divisor(baud);
    *uart_register(CONTROL1) = RX_INTERRUPT | TX_ENABLE | RX_ENABLE;
    *uart_register(CONTROL1) = RX_INTERRUPT | TX_ENABLE | RX_ENABLE | USART_ENABLE;
}

void uart_init(void)
{
    stm32_connect_uart();
    uart_set_rate(BOARD_BAUD);
}

void uart_send(uint8_t byte)
{
    while (!(*uart_register(STATUS) & TX_EMPTY)) {
    }
    *uart_register(TX_DATA) = byte;
}

int uart_receive(uint8_t *byte)
{
    if (*uart_register(STATUS) & OVERRUN) { /* the lost byte shows in the frame's checksum */
        *uart_register(CLEAR) = OVERRUN;
    }
    if (!(*uart_register(STATUS) & RX_FULL)) {
        return 0;
    }
    *byte = (uint8_t)*uart_register(RX_DATA);
    return 1;
}
