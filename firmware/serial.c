/* Received bytes wait here while a request is executed. A full ring drops bytes; a frame's checksum shows it. */
#include "serial.h"

#include "port.h"
#include "uart.h"

enum { RING = 512 };
static volatile uint8_t ring[RING];
static volatile uint16_t ring_in, ring_out;

__attribute__((weak)) int uart_can(uint32_t baud)
{
    return baud == BOARD_BAUD;
}

__attribute__((weak)) void uart_set_rate(uint32_t baud)
{
    (void)baud;
}

void uart_interrupt(void)
{
    uint8_t byte;
    while (uart_receive(&byte)) {
        const uint16_t next = (uint16_t)((ring_in + 1u) % RING);
        if (next != ring_out) {
            ring[ring_in] = byte;
            ring_in = next;
        }
    }
}

void serial_start(void)
{
    uart_init();
    port_enable_uart();
}

/* With interrupts held back between the look and the sleep, none is slept through. */
int serial_wait(void)
{
    if (ring_out == ring_in) {
        port_hold_interrupts();
        if (ring_out == ring_in) {
            port_wait();
        }
        port_allow_interrupts();
    }
    return ring_out != ring_in;
}

uint8_t serial_next(void)
{
    uint8_t byte;
    while (!serial_wait()) {
    }
    byte = ring[ring_out];
    ring_out = (uint16_t)((ring_out + 1u) % RING);
    return byte;
}
