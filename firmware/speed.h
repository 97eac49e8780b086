/* The core at full speed: speed_<driver>.c raises it from reset's, where a board has one. */
#ifndef SPEED_H
#define SPEED_H

#include <stdint.h>

#include "board.h"

/* What runs now. Where an oscillator or a regulator does not come up, this stays what it was at reset. */
typedef struct {
    uint32_t core_hz;
    uint32_t uart_hz;
} speed_rates;
extern speed_rates speed;

void speed_raise(void);

static inline volatile uint32_t *speed_register(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

/* Wait, for a while, until the bits of a mask have a value; whether they got it. */
static inline int speed_wait(uint32_t address, uint32_t mask, uint32_t value)
{
    uint32_t left = 200000;
    while ((*speed_register(address) & mask) != value) {
        if (--left == 0) {
            return 0;
        }
    }
    return 1;
}

static inline void speed_replace(uint32_t address, uint32_t mask, uint32_t value)
{
    *speed_register(address) = (*speed_register(address) & ~mask) | value;
}

#endif
