/* Gestures of an accelerometer, named while they happen: samples come in at any time, decisions come out.
 *
 *     gesture_start(&g);                       once
 *     gesture_push(&g, xyz);                   in the sensor's interrupt, a sample a call
 *     while (gesture_poll(&g, &label)) ...     in the main loop: each change of what is going on
 *
 * Nothing here is of this model but GESTURE_LEVELS and the names of the model's functions. */
#ifndef GESTURE_H
#define GESTURE_H

#include "gestures.h"

enum {
    GESTURE_AXES = 3,
    GESTURE_RING = 16, /* samples that wait at most; a power of 2 */
    GESTURE_HOLD = 6,  /* timesteps that a label must lead before it is believed */
    GESTURE_MARGIN = 0 /* by which it must lead: a unit of logit is what the model's header says */
};

typedef struct {
    int16_t ring[GESTURE_RING][GESTURE_AXES];
    volatile uint32_t in, out; /* samples pushed, samples taken; only the interrupt writes `in`, only the loop `out` */
    volatile uint32_t lost;    /* samples that found the ring full */
    int16_t last[GESTURE_AXES];
    int seen;                  /* whether `last` is a sample */
    uint32_t leader, lead;     /* the label that leads, and for how many timesteps it has */
    uint32_t label;            /* the last one reported */
    gestures_stream_state state;
} gesture;

void gesture_start(gesture *g);

/* Keep a sample; returns 0 where there was no room, and the sample is lost. Safe in an interrupt. */
int gesture_push(gesture *g, const int16_t sample[GESTURE_AXES]);

/* Take what waits; returns 1 as soon as what is going on has changed, with its label, else 0. */
int gesture_poll(gesture *g, uint32_t *label);

#endif
