/* The serial line, as main.c sees it; one uart_<driver>.c implements it, board.h says where the registers are. */
#ifndef UART_H
#define UART_H

#include <stdint.h>

#include "board.h"

/* What its rate is divided from, and what the core runs at, now. */
#ifdef BOARD_SPEED
#include "speed.h"
#define UART_CLOCK_HZ speed.uart_hz
#define CORE_CLOCK_HZ speed.core_hz
#else
#define UART_CLOCK_HZ BOARD_UART_CLOCK_HZ
#define CORE_CLOCK_HZ BOARD_CLOCK_HZ
#endif

/* 8 data bits, no parity, 1 stop bit; interrupts on received bytes. May be called again. */
void uart_init(void);

/* Whether it can have a rate, within 2 %; and have it. A driver without these cannot have another than the board's. */
int uart_can(uint32_t baud);
void uart_set_rate(uint32_t baud);

/* Whether `divisor` divides a clock to a rate, within 2 %. */
static inline int uart_near(uint32_t clock_hz, uint32_t divisor, uint32_t baud)
{
    const uint64_t asked = (uint64_t)baud * divisor, off = asked > clock_hz ? asked - clock_hz : clock_hz - asked;
    return divisor != 0 && 50u * off <= clock_hz;
}

/* Send one byte, waiting for room. */
void uart_send(uint8_t byte);

/* Take one received byte; 0 where there is none. Called from the interrupt. */
int uart_receive(uint8_t *byte);

static inline volatile uint32_t *uart_register(uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(BOARD_UART_BASE + offset);
}

#endif
