/* Firing with Helium: eight int16 membranes at once, every kind of neuron; tails are predicated. */
#ifndef SNE_FIRE_HELIUM_H
#define SNE_FIRE_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

SNE_INLINE int16x8_t sne_decayed_helium(int16x8_t v, int decay, int32_t factor)
{
    if (decay == SNE_DECAY_SHIFT) {
        return vsubq_s16(v, vshlq_s16(v, vdupq_n_s16((int16_t)-factor)));
    }
    if (decay == SNE_DECAY_Q15) {
        return vqdmulhq_n_s16(v, (int16_t)factor); /* (2 v f) >> 16, floored; f < 2^15, so it never saturates */
    }
    return v;
}

/* Set the bits of the lanes in `fired` (two bits a lane), from `first` on; returns their number. */
SNE_OUTLINE size_t sne_set_lanes(uint32_t *bits, size_t first, uint32_t fired)
{
    size_t n = 0;
    for (; fired; n++) {
        const uint32_t bit = (uint32_t)__builtin_ctz(fired);
        sne_set_bit(bits, first + (bit >> 1));
        fired &= ~(3u << bit);
    }
    return n;
}

SNE_INLINE size_t sne_fire_helium(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions,
                                  uint32_t *bits, size_t first, int decay, int32_t factor, int reset, int clamp)
{
    const int16x8_t high = vdupq_n_s16((int16_t)p->clamp_high), low = vdupq_n_s16((int16_t)p->clamp_low);
    size_t position, n = 0;
    for (position = 0; position < positions; position++, first += p->channels) {
        const int16_t *thresholds = (const int16_t *)p->threshold, *add = drive;
        int32_t left;
        for (left = p->stride; left > 0; left -= 8, thresholds += 8, add += 8, v += 8) {
            const mve_pred16_t lanes = vctp16q((uint32_t)left);
            const int16x8_t threshold = vldrhq_z_s16(thresholds, lanes);
            int16x8_t m = vldrhq_z_s16(v, lanes);
            const mve_pred16_t fired = vcmpgtq_s16(m, threshold); /* lanes beyond hold 0 */
            if (fired) {
                n += sne_set_lanes(bits, first + (p->stride - (size_t)left), fired);
                if (reset == SNE_RESET_SUBTRACT) {
                    m = vsubq_m_s16(m, m, threshold, fired);
                } else if (reset == SNE_RESET_ZERO) {
                    m = vdupq_m_n_s16(m, 0, fired);
                }
            }
            if (clamp) {
                m = vmaxq_s16(vminq_s16(m, high), low);
            }
            m = sne_decayed_helium(m, decay, factor);
            if (reset == SNE_RESET_DELAYED) {
                m = vsubq_m_s16(m, m, threshold, fired);
            }
            m = vaddq_s16(m, vldrhq_z_s16(add, lanes));
            vstrhq_p_s16(v, m, lanes);
        }
        v -= (8u - p->stride % 8u) % 8u;
    }
    return n;
}

#endif
