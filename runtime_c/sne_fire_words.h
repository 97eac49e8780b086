/* Firing on 32-bit cores without instructions for lanes (RISC-V), in C: two int16 membranes in a word, four at once. Four that
 * hold one above its threshold take a detour; spikes are rare.
 *
 * Signs are turned, u = v + 2^15 in each lane: both lanes of a word leak, add and compare at once, and whole words add exactly
 * as long as every final lane is within 0 .. 65535, as the proven bounds say. Membranes may lie turned, or are turned here. */
#ifndef SNE_FIRE_WORDS_H
#define SNE_FIRE_WORDS_H

#include "sne_neuron.h"

#define SNE_WORDS_SIGNS 0x80008000u

SNE_INLINE int sne_fire_words_can(int reset, int decay, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && decay != SNE_DECAY_Q15;
}

/* The signs of lanes that may be above their thresholds, 1 at least: all that are, and some that are as high. */
SNE_INLINE uint32_t sne_near_words(uint32_t m, uint32_t threshold)
{
    return (m - threshold) & m; /* a lane may borrow from the next */
}

/* The signs of lanes that are. */
SNE_INLINE uint32_t sne_above_words(uint32_t m, uint32_t threshold)
{
    return ((m | SNE_WORDS_SIGNS) - threshold - 0x00010001u) & m & SNE_WORDS_SIGNS;
}

/* Four neurons' bits, in order, of the signs of two words. */
SNE_INLINE uint32_t sne_bits_words(uint32_t a, uint32_t b)
{
    const uint32_t both = a >> 1 | b; /* 14, 15: lower lanes; 30, 31: upper */
    return (both >> 14 & 1u) | (both >> 29 & 2u) | (both >> 13 & 4u) | (both >> 28 & 8u);
}

/* Membranes of which `above` have fired. */
SNE_INLINE uint32_t sne_reset_words(uint32_t m, uint32_t threshold, uint32_t above, int reset)
{
    const uint32_t lanes = above - (above >> 15);
    return reset == SNE_RESET_ZERO ? (m & ~(lanes | above)) | above : m - (threshold & lanes);
}

/* What is added to membranes beside their drive, that of turned signs. */
SNE_INLINE uint32_t sne_rest_words(int decay, int32_t factor)
{
    const uint32_t kept = decay == SNE_DECAY_SHIFT ? 0x8000u - (0x8000u >> (factor & 15)) : 0x8000u;
    return 0u - kept * 0x10001u;
}

SNE_INLINE uint32_t sne_leaked_words(uint32_t m, int decay, int32_t factor)
{
    return decay == SNE_DECAY_SHIFT ? m - (m >> (factor & 15) & (0xffffu >> (factor & 15)) * 0x10001u) : m;
}

/* Set four neurons' bits from `first` on; returns how many these are. */
SNE_INLINE size_t sne_mark_words(uint32_t *bits, size_t first, uint32_t four)
{
    const uint32_t at = (uint32_t)first & 31u;
    uint32_t *const word = bits + (first >> 5);
    word[0] |= four << at;
    if (at > 28u && four >> (32u - at)) {
        word[1] |= four >> (32u - at);
    }
    four -= four >> 1 & 5u;
    return (size_t)((four & 3u) + (four >> 2));
}

/* sne_fire (sne_fire.h) for int16 membranes, where sne_fire_words_can. `turned`, a constant: membranes have turned signs. */
SNE_INLINE size_t sne_fire_words(const sne_neurons *p, void *membranes, const void *drive, size_t positions, uint32_t *bits,
                                 size_t first, int decay, int32_t factor, int reset, int turned)
{
    const uint32_t turn = turned ? 0u : SNE_WORDS_SIGNS, rest = sne_rest_words(decay, factor);
    const size_t words = (size_t)p->stride / 2u, channels = p->channels;
    const sne_word *const thresholds = (const sne_word *)p->threshold, *const end = thresholds + words;
    sne_word *v = (sne_word *)membranes;
    size_t n = 0;
    for (; positions; positions--, first += channels) {
        const sne_word *threshold = thresholds, *d = (const sne_word *)drive;
        do {
            uint32_t a = v[0] ^ turn, b = v[1] ^ turn;
            const uint32_t high = threshold[0], other = threshold[1];
            if ((sne_near_words(a, high) | sne_near_words(b, other)) & SNE_WORDS_SIGNS) {
                const uint32_t above = sne_above_words(a, high), also = sne_above_words(b, other);
                n += sne_mark_words(bits, first + 2u * (size_t)(threshold - thresholds), sne_bits_words(above, also));
                a = sne_reset_words(a, high, above, reset);
                b = sne_reset_words(b, other, also, reset);
            }
            v[0] = (sne_leaked_words(a, decay, factor) + (d[0] ^ SNE_WORDS_SIGNS) + rest) ^ turn;
            v[1] = (sne_leaked_words(b, decay, factor) + (d[1] ^ SNE_WORDS_SIGNS) + rest) ^ turn;
            v += 2;
            d += 2;
            threshold += 2;
        } while (threshold != end);
    }
    return n;
}

/* sne_fire_last (sne_fire.h). */
SNE_INLINE size_t sne_fire_last_words(const sne_neurons *p, const void *membranes, size_t positions, uint32_t *bits,
                                      size_t first, int turned)
{
    const uint32_t turn = turned ? 0u : SNE_WORDS_SIGNS;
    const size_t words = (size_t)p->stride / 2u, channels = p->channels;
    const sne_word *const thresholds = (const sne_word *)p->threshold, *const end = thresholds + words;
    const sne_word *v = (const sne_word *)membranes;
    size_t n = 0;
    for (; positions; positions--, first += channels) {
        const sne_word *threshold = thresholds;
        do {
            const uint32_t a = v[0] ^ turn, b = v[1] ^ turn, high = threshold[0], other = threshold[1];
            if ((sne_near_words(a, high) | sne_near_words(b, other)) & SNE_WORDS_SIGNS) {
                const uint32_t four = sne_bits_words(sne_above_words(a, high), sne_above_words(b, other));
                n += sne_mark_words(bits, first + 2u * (size_t)(threshold - thresholds), four);
            }
            v += 2;
            threshold += 2;
        } while (threshold != end);
    }
    return n;
}

/* sne_fire_steps (sne_fire.h), where sne_fire_words_can: eight neurons at a time, in registers. `bytes`: of a timestep's map. */
SNE_INLINE void sne_fire_steps_words(const sne_neurons *p, const void *drive, uint32_t timesteps, uint8_t *bits, size_t bytes,
                                     int decay, int32_t factor, int reset)
{
    const uint32_t rest = sne_rest_words(decay, factor);
    const sne_word *threshold = (const sne_word *)p->threshold, *d = (const sne_word *)drive;
    const sne_word *const end = threshold + p->channels / 2u;
    for (; threshold != end; threshold += 4, d += 4, bits++) {
        uint32_t m[4], add[4], high[4], t = timesteps;
        uint8_t *to = bits;
        int k;
#pragma GCC unroll 4
        for (k = 0; k < 4; k++) {
            m[k] = d[k] ^ SNE_WORDS_SIGNS;
            add[k] = m[k] + rest;
            high[k] = threshold[k];
        }
        for (;;) {
            const uint32_t near = sne_near_words(m[0], high[0]) | sne_near_words(m[1], high[1]);
            if ((near | sne_near_words(m[2], high[2]) | sne_near_words(m[3], high[3])) & SNE_WORDS_SIGNS) {
                uint32_t above[4];
#pragma GCC unroll 4
                for (k = 0; k < 4; k++) {
                    above[k] = sne_above_words(m[k], high[k]);
                    m[k] = sne_reset_words(m[k], high[k], above[k], reset);
                }
                *to = (uint8_t)(sne_bits_words(above[0], above[1]) | sne_bits_words(above[2], above[3]) << 4);
            }
            if (--t == 0) {
                break;
            }
            to += bytes;
#pragma GCC unroll 4
            for (k = 0; k < 4; k++) {
                m[k] = sne_leaked_words(m[k], decay, factor) + add[k];
            }
        }
    }
}

#endif
