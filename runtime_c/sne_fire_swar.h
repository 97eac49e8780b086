/* Firing without vector instructions (Cortex-M0, M3): two int16 membranes in a word. Spikes are rare, so they may take a
 * detour. Signs turned, a lane u = v + 2^15 is never negative, and whole words add and subtract exactly as long as
 * every final lane is within 0 .. 65535, which the proven bounds say. */
#ifndef SNE_FIRE_SWAR_H
#define SNE_FIRE_SWAR_H

#include "sne_neuron.h"

#define SNE_FIRE_SIGNS 0x80008000u

SNE_INLINE int sne_fire_swar_can(int reset, int decay, int32_t factor, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && (decay == SNE_DECAY_NONE || (decay == SNE_DECAY_SHIFT && factor < 16));
}

/* The detour: fire and reset the two membranes of `m`, neurons i and i + 1. */
SNE_INLINE uint32_t sne_fire_two(uint32_t m, uint32_t threshold, uint32_t *bits, size_t i, int reset, size_t *n)
{
    int32_t low = (int16_t)(uint16_t)m, high = (int32_t)m >> 16;
    const int32_t low_threshold = (int16_t)(uint16_t)threshold, high_threshold = (int32_t)threshold >> 16;
    if (low > low_threshold) {
        sne_set_bit(bits, i);
        low = reset == SNE_RESET_ZERO ? 0 : low - low_threshold;
        ++*n;
    }
    if (high > high_threshold) {
        sne_set_bit(bits, i + 1);
        high = reset == SNE_RESET_ZERO ? 0 : high - high_threshold;
        ++*n;
    }
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

SNE_INLINE size_t sne_fire_swar(const sne_neurons *p, uint32_t *v, const uint32_t *drive, size_t positions,
                                uint32_t *bits, size_t first, int decay, int32_t factor, int reset)
{
    const uint32_t lanes = 0xffffu >> factor, half = 0x8000u >> factor;
    const uint32_t mask = lanes | lanes << 16, back = half | half << 16;
    const size_t pairs = p->stride / 2u;
    size_t position, k, n = 0;
    for (position = 0; position < positions; position++, first += p->channels) {
        const uint32_t *threshold = (const uint32_t *)p->threshold;
        for (k = 0; k < pairs; k++) {
            uint32_t m = *v;
            /* Guard bits stay set where v <= threshold, for v >= 0; a negative one has its sign set. */
            const uint32_t left = (threshold[k] | SNE_FIRE_SIGNS) - (m & ~SNE_FIRE_SIGNS);
            if ((left | m | ~SNE_FIRE_SIGNS) != 0xffffffffu) {
                m = sne_fire_two(m, threshold[k], bits, first + 2 * k, reset, &n);
            }
            m ^= SNE_FIRE_SIGNS;
            if (decay == SNE_DECAY_SHIFT) { /* u >> shift is (v >> shift) + 2^(15 - shift) */
                m = m - ((m >> factor) & mask) + back;
            }
            /* drive + 2^15 in lanes, less the same again */
            *v++ = (m + (drive[k] ^ SNE_FIRE_SIGNS) - SNE_FIRE_SIGNS) ^ SNE_FIRE_SIGNS;
        }
    }
    return n;
}

#endif
