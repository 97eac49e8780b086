/* A window of audio that slides over a stream: samples go in as they come, a digit comes out where one was spoken.
 *
 *     static listener l;
 *     listen_start(&l);
 *     for each block of samples, such as half of a DMA's buffer:
 *         if (listen(&l, block, n, &digit)) use(digit);
 *
 * The model was taught words from their first sample on. So the window slides by one frame (16 ms), and an inference is
 * made where the window begins with the beginning of a word: once a word, and never while it is quiet. */
#ifndef LISTEN_H
#define LISTEN_H

#include "fsdd_frontend.h"

enum {
    LISTEN_BLOCK = FSDD_HOP, /* samples a call, at most: what makes one frame */
    LISTEN_LOUD = 40,        /* mean magnitude of a block in which somebody speaks */
    LISTEN_QUIET = 10,       /* quiet frames, in a row, that part two words */
    LISTEN_MARGIN = 100000   /* of logits, of which one is FSDD_LOGIT_SCALE: less is no answer */
};

typedef struct {
    fsdd_frontend_state frontend;
    fsdd_state state;
    int8_t window[FSDD_INPUT_BYTES]; /* FSDD_FRAMES frames, the newest last */
    uint8_t loud[FSDD_FRAMES];       /* which of them are */
    uint32_t quiet;                  /* frames in a row, just before the window */
    uint32_t inferences;
} listener;

void listen_start(listener *l);

/* Take up to LISTEN_BLOCK samples, int16 at FSDD_RATE. Returns 1 where a digit is named, 0 else. */
int listen(listener *l, const int16_t *samples, size_t n, int32_t *digit);

#endif
