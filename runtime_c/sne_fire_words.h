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

/* The same word, from here on: no instruction, but what follows is not computed for all before it is known to be needed. */
SNE_INLINE uint32_t sne_here_words(uint32_t m)
{
    __asm__ volatile("" : "+r"(m));
    return m;
}

/* The signs of lanes that are. */
SNE_INLINE uint32_t sne_above_words(uint32_t m, uint32_t threshold)
{
    return ((m | SNE_WORDS_SIGNS) - threshold - 0x00010001u) & m & SNE_WORDS_SIGNS;
}

/* Four neurons' bits, in order, of the signs of two words. */
SNE_INLINE uint32_t sne_bits_words(uint32_t a, uint32_t b)
{
    const uint32_t both = a >> 15 | b >> 13; /* lower lanes in 0 and 2, upper ones in 16 and 18 */
    return (both | both >> 15) & 15u;
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

/* Set four neurons' bits from `first` on. */
SNE_INLINE void sne_mark_words(uint32_t *bits, size_t first, uint32_t four)
{
    const uint32_t at = (uint32_t)first & 31u;
    uint32_t *const word = bits + (first >> 5);
    word[0] |= four << at;
    if (at > 28u && four >> (32u - at)) {
        word[1] |= four >> (32u - at);
    }
}

/* Two counts in a word, added up. */
SNE_INLINE size_t sne_both_words(uint32_t counts)
{
    return (size_t)((counts & 0xffffu) + (counts >> 16));
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
        uint32_t fired = 0; /* of either lane */
        do {
            uint32_t a = v[0] ^ turn, b = v[1] ^ turn;
            const uint32_t high = threshold[0], other = threshold[1];
            if ((sne_near_words(a, high) | sne_near_words(b, other)) & SNE_WORDS_SIGNS) {
                const uint32_t above = sne_above_words(sne_here_words(a), high);
                const uint32_t also = sne_above_words(sne_here_words(b), other);
                sne_mark_words(bits, first + 2u * (size_t)(threshold - thresholds), sne_bits_words(above, also));
                fired += (above >> 15) + (also >> 15);
                a = sne_reset_words(a, high, above, reset);
                b = sne_reset_words(b, other, also, reset);
            }
            v[0] = (sne_leaked_words(a, decay, factor) + (d[0] ^ SNE_WORDS_SIGNS) + rest) ^ turn;
            v[1] = (sne_leaked_words(b, decay, factor) + (d[1] ^ SNE_WORDS_SIGNS) + rest) ^ turn;
            v += 2;
            d += 2;
            threshold += 2;
        } while (threshold != end);
        n += sne_both_words(fired);
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
        uint32_t fired = 0;
        do {
            const uint32_t a = v[0] ^ turn, b = v[1] ^ turn, high = threshold[0], other = threshold[1];
            if ((sne_near_words(a, high) | sne_near_words(b, other)) & SNE_WORDS_SIGNS) {
                const uint32_t above = sne_above_words(sne_here_words(a), high);
                const uint32_t also = sne_above_words(sne_here_words(b), other);
                sne_mark_words(bits, first + 2u * (size_t)(threshold - thresholds), sne_bits_words(above, also));
                fired += (above >> 15) + (also >> 15);
            }
            v += 2;
            threshold += 2;
        } while (threshold != end);
        n += sne_both_words(fired);
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
        const uint32_t high0 = threshold[0], high1 = threshold[1], high2 = threshold[2], high3 = threshold[3];
        uint32_t m0 = d[0] ^ SNE_WORDS_SIGNS, m1 = d[1] ^ SNE_WORDS_SIGNS;
        uint32_t m2 = d[2] ^ SNE_WORDS_SIGNS, m3 = d[3] ^ SNE_WORDS_SIGNS;
        const uint32_t add0 = m0 + rest, add1 = m1 + rest, add2 = m2 + rest, add3 = m3 + rest;
        uint32_t t = timesteps;
        uint8_t *to = bits;
        for (;;) {
            const uint32_t near = sne_near_words(m0, high0) | sne_near_words(m1, high1);
            if ((near | sne_near_words(m2, high2) | sne_near_words(m3, high3)) & SNE_WORDS_SIGNS) {
                const uint32_t a0 = sne_above_words(sne_here_words(m0), high0);
                const uint32_t a1 = sne_above_words(sne_here_words(m1), high1);
                const uint32_t a2 = sne_above_words(sne_here_words(m2), high2);
                const uint32_t a3 = sne_above_words(sne_here_words(m3), high3);
                *to = (uint8_t)(sne_bits_words(a0, a1) | sne_bits_words(a2, a3) << 4);
                m0 = sne_reset_words(m0, high0, a0, reset);
                m1 = sne_reset_words(m1, high1, a1, reset);
                m2 = sne_reset_words(m2, high2, a2, reset);
                m3 = sne_reset_words(m3, high3, a3, reset);
            }
            if (--t == 0) {
                break;
            }
            to += bytes;
            m0 = sne_leaked_words(m0, decay, factor) + add0;
            m1 = sne_leaked_words(m1, decay, factor) + add1;
            m2 = sne_leaked_words(m2, decay, factor) + add2;
            m3 = sne_leaked_words(m3, decay, factor) + add3;
        }
    }
}

#endif
