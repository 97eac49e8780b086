/* Firing with Helium: eight int16 membranes at once, every kind of neuron; tails are predicated. */
#ifndef SNE_FIRE_HELIUM_H
#define SNE_FIRE_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

SNE_INLINE int16x8_t sne_decayed_helium(int16x8_t v, int decay, int32_t factor)
{
    if (decay == SNE_DECAY_SHIFT) {
        return vsubq_s16(v, vshlq_r_s16(v, -factor));
    }
    if (decay == SNE_DECAY_Q15) {
        return vqdmulhq_n_s16(v, (int16_t)factor); /* (2 v f) >> 16, floored; f < 2^15, so it never saturates */
    }
    return v;
}

SNE_INLINE size_t sne_fire_helium(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions,
                                  uint32_t *bits, size_t first, int decay, int32_t factor, int reset, int clamp)
{
    const size_t stride = p->stride;
    size_t position, c, n = 0;
    for (position = 0; position < positions; position++, first += p->channels, v += stride) {
        for (c = 0; c < stride; c += 8) {
            const mve_pred16_t lanes = vctp16q((uint32_t)(stride - c));
            const int16x8_t threshold = vldrhq_z_s16((const int16_t *)p->threshold + c, lanes);
            int16x8_t m = vldrhq_z_s16(v + c, lanes);
            const mve_pred16_t fired = vcmpgtq_m_s16(m, threshold, lanes);
            if (fired) {
                uint32_t left = fired; /* two bits a lane */
                while (left) {
                    const uint32_t bit = (uint32_t)__builtin_ctz(left);
                    sne_set_bit(bits, first + c + (bit >> 1));
                    left &= ~(3u << bit);
                    n++;
                }
                if (reset == SNE_RESET_SUBTRACT) {
                    m = vsubq_m_s16(m, m, threshold, fired);
                } else if (reset == SNE_RESET_ZERO) {
                    m = vdupq_m_n_s16(m, 0, fired);
                }
            }
            if (clamp) {
                m = vmaxq_s16(vminq_s16(m, vdupq_n_s16((int16_t)p->clamp_high)), vdupq_n_s16((int16_t)p->clamp_low));
            }
            m = sne_decayed_helium(m, decay, factor);
            if (reset == SNE_RESET_DELAYED) {
                m = vsubq_m_s16(m, m, threshold, fired);
            }
            vstrhq_p_s16(v + c, vaddq_s16(m, vldrhq_z_s16(drive + c, lanes)), lanes);
        }
    }
    return n;
}

#endif
