/* Firing with the DSP extension: two int16 membranes in a word. Spikes are rare, so they may take a detour. */
#ifndef SNE_FIRE_DSP_H
#define SNE_FIRE_DSP_H

#include "sne_dsp.h"
#include "sne_fire_pair.h"

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

SNE_INLINE size_t sne_fire_dsp(const sne_neurons *p, uint32_t *v, const uint32_t *drive, size_t positions,
                               uint32_t *bits, size_t first, int decay, int32_t factor, int reset)
{
    sne_spikes spikes = {bits, first, 0};
    size_t position;
    for (position = 0; position < positions; position++, spikes.first += p->channels) {
        const uint32_t *threshold = (const uint32_t *)p->threshold, *add = drive;
        const uint32_t *const end = threshold + p->stride / 2u;
        while (threshold != end) {
            uint32_t m0 = v[0], m1 = v[1], t0, t1;
            t0 = *threshold++;
            t1 = *threshold++;
            if ((sne_saturating_sub(t0, m0) | sne_saturating_sub(t1, m1)) & SNE_DSP_SIGNS) {
                const size_t c = p->stride - 2u * (size_t)(end - threshold) - 4u;
                m0 = sne_fire_pair(&spikes, m0, t0, c, reset);
                m1 = sne_fire_pair(&spikes, m1, t1, c + 2, reset);
            }
            if (decay == SNE_DECAY_SHIFT) {
                m0 = sne_decayed_lanes(m0, factor);
                m1 = sne_decayed_lanes(m1, factor);
            }
            *v++ = sne_add_lanes(m0, *add++);
            *v++ = sne_add_lanes(m1, *add++);
        }
    }
    return spikes.n;
}

#endif
