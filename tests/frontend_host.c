/* The front end as a filter on the host: recordings of HEAR_SAMPLES int16 in, their inputs out. With an argument, samples
 * are pushed that many at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hear_frontend.h"

static int16_t samples[HEAR_SAMPLES];
static int8_t input[HEAR_FRAMES * HEAR_BANDS];
static hear_frontend_state state;

static void stream(size_t chunk)
{
    size_t at, frame = 0;
    hear_frontend_reset(&state);
    for (at = 0; at < HEAR_SAMPLES; at += chunk) {
        const int16_t *next = samples + at;
        size_t n = HEAR_SAMPLES - at < chunk ? HEAR_SAMPLES - at : chunk;
        int8_t out[HEAR_BANDS];
        while (hear_frontend_push(&state, &next, &n, out)) {
            if (frame < HEAR_FRAMES) {
                memcpy(input + frame * HEAR_BANDS, out, sizeof out);
            }
            frame++;
        }
    }
    if (frame != HEAR_FRAMES) {
        fprintf(stderr, "%u frames\n", (unsigned)frame);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    while (fread(samples, sizeof samples, 1, stdin) == 1) {
        memset(input, 99, sizeof input);
        memset(&state, 0x55, sizeof state);
        if (argc > 1) {
            stream((size_t)atoi(argv[1]));
        } else if (hear_frontend(&state, samples, HEAR_SAMPLES, input) != SNE_OK) {
            return 1;
        }
        fwrite(input, sizeof input, 1, stdout);
    }
    return 0;
}
