#include "gesture.h"

static const int32_t levels[] = {6, 24, 72}; /* as model.py was trained with */
enum { LEVELS = sizeof levels / sizeof levels[0] };
typedef char inputs_are_the_models[2 * GESTURE_AXES * LEVELS == GESTURES_N_INPUTS ? 1 : -1];

void gesture_start(gesture *g)
{
    g->in = g->out = g->lost = 0;
    g->seen = 0;
    g->leader = g->label = SNE_NONE;
    g->lead = 0;
    gestures_reset(&g->state);
}

int gesture_push(gesture *g, const int16_t sample[GESTURE_AXES])
{
    const uint32_t in = g->in;
    size_t axis;
    if (in - g->out == GESTURE_RING) {
        g->lost++;
        return 0;
    }
    for (axis = 0; axis < GESTURE_AXES; axis++) {
        g->ring[in % GESTURE_RING][axis] = sample[axis];
    }
    g->in = in + 1; /* last: from now on the loop may take it. On several cores, put a barrier before this line. */
    return 1;
}

/* A sample's changes as events, ascending; returns their number. */
static size_t encode(gesture *g, const int16_t *sample, uint16_t *events)
{
    size_t n = 0, level, axis;
    for (level = 0; level < LEVELS; level++) {
        for (axis = 0; axis < GESTURE_AXES; axis++) {
            const int32_t change = g->seen ? (int32_t)sample[axis] - g->last[axis] : 0;
            const size_t input = 2 * (GESTURE_AXES * level + axis);
            if (change > levels[level]) {
                events[n++] = (uint16_t)input;
            } else if (-change > levels[level]) {
                events[n++] = (uint16_t)(input + 1);
            }
        }
    }
    for (axis = 0; axis < GESTURE_AXES; axis++) {
        g->last[axis] = sample[axis];
    }
    g->seen = 1;
    return n;
}

int gesture_poll(gesture *g, uint32_t *label)
{
    while (g->out != g->in) {
        uint16_t events[GESTURE_AXES * LEVELS]; /* an axis rises or falls */
        sne_result result;
        const size_t n = encode(g, g->ring[g->out % GESTURE_RING], events);
        g->out = g->out + 1;
        if (gestures_step(&g->state, events, n) != SNE_OK) {
            continue; /* events were not ascending indices of inputs: a fault of `encode` */
        }
        gestures_read(&g->state, &result);
        if (result.margin <= GESTURE_MARGIN) {
            continue; /* nobody leads: believe what was */
        }
        g->lead = result.label == g->leader ? g->lead + 1 : 1;
        g->leader = result.label;
        if (g->lead >= GESTURE_HOLD && g->leader != g->label) {
            *label = g->label = g->leader;
            return 1;
        }
    }
    return 0;
}
