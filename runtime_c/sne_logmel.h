/* sne-edge front end: int16 audio to the logarithms of the energy in mel bands, int8, frame by frame.
 *
 * The arithmetic is written down in sne_edge/ir/frontend.py, `LogMel`; this restates it in 32-bit integers. No heap, no
 * floating point, no mutable globals; the generated X_frontend.c has the tables and a state of the right size. */
#ifndef SNE_LOGMEL_H
#define SNE_LOGMEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const uint16_t *hann;  /* [window / 2 + 1], q15, 32768 being 1 */
    const uint16_t *sine;  /* [window / 4 + 1], q15 */
    const uint16_t *edges; /* [bands + 2], bins */
    const uint8_t *rise;   /* [edges[bands + 1] - edges[0]] */
    uint16_t window;       /* samples of a frame: a power of two, 32 to 512 */
    uint16_t hop;          /* 1 to window */
    uint16_t bands;
    uint16_t frames;
    uint16_t preemphasis;  /* of 32, below 32 */
    uint16_t gain;
    int16_t offset;
} sne_logmel;

/* One frame: `samples` [window], `work` [window] is overwritten, `out` [bands]. */
void sne_logmel_frame(const sne_logmel *config, const int16_t *samples, int32_t *work, int8_t *out);

/* A stream: takes samples until a frame is complete, and then writes it to `out` and returns 1; returns 0 when they have
 * run out. Moves `*samples` and `*n` past what it took, so that `while (sne_logmel_push(...))` sees every frame.
 * `held`: the number of samples in `history` [window]; 0 at the start. */
int sne_logmel_push(const sne_logmel *config, uint32_t *held, int16_t *history, int32_t *work, const int16_t **samples,
                    size_t *n, int8_t *out);

/* A whole recording, silence where it is too short: `out` [frames * bands]. The rest as for sne_logmel_push. */
void sne_logmel_recording(const sne_logmel *config, uint32_t *held, int16_t *history, int32_t *work,
                          const int16_t *samples, size_t n, int8_t *out);

#ifdef __cplusplus
}
#endif
#endif
