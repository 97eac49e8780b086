/* Encoders: a direct input, or a live stream's events, as spikes. */
#ifndef SNE_ENCODE_H
#define SNE_ENCODE_H

#include "sne_tables.h"

/* The uniform draws, one a byte, of four inputs: Wellons' lowbias32 of a counter. */
SNE_INLINE uint32_t sne_rate_word(uint32_t counter)
{
    uint32_t x = counter;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x & 0x7f7f7f7fu;
}

/* Rate encoder: input i spikes at timestep t where its draw is below x[i]. `bits`: [timesteps][words]. */
SNE_INLINE void sne_rate_encode(const int8_t *x, size_t inputs, uint32_t seed, uint32_t timesteps, uint32_t *bits)
{
    uint32_t counter = seed, t, draws = 0;
    size_t i;
    for (t = 0; t < timesteps; t++, bits += sne_words(inputs)) {
        sne_clear(bits, sne_words(inputs));
        for (i = 0; i < inputs; i++, draws >>= 8) {
            if ((i & 3u) == 0) {
                draws = sne_rate_word(counter++);
            }
            if ((int32_t)(draws & 0x7fu) < x[i]) {
                sne_set_bit(bits, i);
            }
        }
    }
}

/* Events as one timestep's bits. */
SNE_INLINE void sne_event_bits(const uint16_t *events, size_t n, size_t inputs, uint32_t *bits)
{
    size_t i;
    sne_clear(bits, sne_words(inputs));
    for (i = 0; i < n; i++) {
        sne_set_bit(bits, events[i]);
    }
}

#endif
