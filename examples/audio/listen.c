#include "listen.h"

#include <string.h>

void listen_start(listener *l)
{
    memset(l, 0, sizeof *l);
    fsdd_frontend_reset(&l->frontend);
}

static int is_loud(const int16_t *samples, size_t n)
{
    uint32_t sum = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        const int32_t sample = samples[i];
        sum += (uint32_t)(sample < 0 ? -sample : sample);
    }
    return sum > (uint32_t)LISTEN_LOUD * (uint32_t)n;
}

/* The window moves on by a frame. Returns whether a word begins where it now begins. */
static int slide(listener *l, const int8_t *frame, int loud)
{
    l->quiet = l->loud[0] ? 0 : l->quiet + 1;
    memmove(l->window, l->window + FSDD_BANDS, FSDD_INPUT_BYTES - FSDD_BANDS);
    memcpy(l->window + FSDD_INPUT_BYTES - FSDD_BANDS, frame, FSDD_BANDS);
    memmove(l->loud, l->loud + 1, FSDD_FRAMES - 1);
    l->loud[FSDD_FRAMES - 1] = (uint8_t)loud;
    return l->loud[0] && l->quiet >= LISTEN_QUIET;
}

int listen(listener *l, const int16_t *samples, size_t n, int32_t *digit)
{
    const int loud = is_loud(samples, n);
    int8_t frame[FSDD_BANDS];
    int named = 0;
    while (fsdd_frontend_push(&l->frontend, &samples, &n, frame)) {
        sne_result result;
        if (!slide(l, frame, loud)) {
            continue;
        }
        l->inferences++;
        if (fsdd_run(&l->state, l->window, NULL, &result) == SNE_OK && result.margin >= LISTEN_MARGIN) {
            *digit = (int32_t)result.label;
            named = 1;
        }
    }
    return named;
}
