/* Firing with the DSP extension: two int16 membranes in a word. Spikes are rare, so they may take a detour. */
#ifndef SNE_FIRE_DSP_H
#define SNE_FIRE_DSP_H

#include "sne_dsp.h"
#include "sne_neuron.h"

#define SNE_DSP_SIGNS 0x80008000u

SNE_INLINE int sne_fire_dsp_can(int reset, int decay, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && decay != SNE_DECAY_Q15;
}

/* v - (v >> shift) by lane; `shift` is a constant. */
SNE_INLINE uint32_t sne_decayed_lanes(uint32_t m, int32_t shift)
{
    const uint32_t bits = shift < 16 ? 0xffffu >> shift : 0u, half = 0x8000u >> (shift < 16 ? shift : 15);
    uint32_t part = m;
    if (shift > 15) { /* all sign: floor(v / 2^16) is 0 or -1 */
        shift = 15;
    }
    if (shift <= 2) {
        int32_t k;
        for (k = 0; k < shift; k++) {
            part = sne_halve(part);
        }
        return sne_sub_lanes(m, part);
    }
    /* (v + 2^15) >> shift is (v >> shift) + 2^(15 - shift), and no bit crosses lanes. */
    part = ((m ^ SNE_DSP_SIGNS) >> shift) & (bits | bits << 16);
    return sne_add_lanes(sne_sub_lanes(m, part), half | half << 16);
}

/* The detour: fire and reset the two membranes of `m`, neurons i and i + 1. */
SNE_INLINE uint32_t sne_fire_pair(uint32_t m, uint32_t threshold, uint32_t *bits, size_t i, int reset, size_t *n)
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

SNE_INLINE size_t sne_fire_dsp(const sne_neurons *p, uint32_t *v, const uint32_t *drive, size_t positions,
                               uint32_t *bits, size_t first, int decay, int32_t factor, int reset)
{
    const size_t pairs = p->stride / 2u;
    size_t position, k, n = 0;
    for (position = 0; position < positions; position++, first += p->channels) {
        const uint32_t *threshold = (const uint32_t *)p->threshold, *add = drive;
        for (k = 0; k < pairs; k += 2, v += 2, threshold += 2, add += 2) {
            uint32_t m0 = v[0], m1 = v[1];
            const uint32_t t0 = threshold[0], t1 = threshold[1];
            if ((sne_saturating_sub(t0, m0) | sne_saturating_sub(t1, m1)) & SNE_DSP_SIGNS) {
                m0 = sne_fire_pair(m0, t0, bits, first + 2 * k, reset, &n);
                m1 = sne_fire_pair(m1, t1, bits, first + 2 * k + 2, reset, &n);
            }
            if (decay == SNE_DECAY_SHIFT) {
                m0 = sne_decayed_lanes(m0, factor);
                m1 = sne_decayed_lanes(m1, factor);
            }
            v[0] = sne_add_lanes(m0, add[0]);
            v[1] = sne_add_lanes(m1, add[1]);
        }
    }
    return n;
}

#endif
