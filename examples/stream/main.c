/* The example on this computer: a recording takes the sensor's place. */
#include <stdio.h>

#include "gesture.h"
#include "recording.h"

static const char *const names[] = {"rest", "shake", "circle", "tap"};

int main(void)
{
    static gesture g;
    uint32_t label = SNE_NONE, t, right = 0;
    gesture_start(&g);
    for (t = 0; t < RECORDED * GESTURE_SAMPLES; t++) {
        gesture_push(&g, recording[t]); /* what an interrupt would do */
        if (gesture_poll(&g, &label)) {
            printf("%6.2f s: %s\n", t / 50.0, names[label]);
        }
        if ((t + 1) % GESTURE_SAMPLES == 0) {
            right += label == truth[t / GESTURE_SAMPLES];
        }
    }
    printf("%u of %u gestures named by their end, %u samples lost\n", (unsigned)right, (unsigned)RECORDED, (unsigned)g.lost);
    return 0;
}
