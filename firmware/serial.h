/* Received bytes, as main programs see them. */
#ifndef SERIAL_H
#define SERIAL_H

#include <stdint.h>

/* Start the line at the board's rate. */
void serial_start(void);

/* The next byte, sleeping until there is one. */
uint8_t serial_next(void);

/* Whether one is there; sleeps at most until the next interrupt where there is none. */
int serial_wait(void);

#endif
