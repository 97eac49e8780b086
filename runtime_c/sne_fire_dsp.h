/* Firing with the DSP extension: two int16 membranes in a word. Spikes are rare, so they may take a detour. */
#ifndef SNE_FIRE_DSP_H
#define SNE_FIRE_DSP_H

#include "sne_dsp.h"
#include "sne_neuron.h"

/* Shifts of lanes are made of halvings, one instruction each. */
SNE_INLINE int sne_fire_dsp_can(int decay, int32_t factor, int reset, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED &&
           (decay == SNE_DECAY_NONE || (decay == SNE_DECAY_SHIFT && factor <= 4));
}

SNE_INLINE int32_t sne_low_lane(uint32_t word)
{
    return (int16_t)(uint16_t)word;
}

SNE_INLINE int32_t sne_high_lane(uint32_t word)
{
    return (int16_t)(uint16_t)(word >> 16);
}

SNE_INLINE int32_t sne_reset(int32_t m, int32_t threshold, int reset)
{
    return reset == SNE_RESET_ZERO ? 0 : m - threshold;
}

SNE_INLINE size_t sne_fire_dsp(const sne_neurons *p, int16_t *v, const int16_t *current, uint16_t *events, int decay,
                               int32_t factor, int reset)
{
    const size_t positions = p->positions, channels = p->channels;
    const int16_t *const thresholds = (const int16_t *)p->threshold;
    size_t position, c, i = 0, n = 0;
    for (position = 0; position < positions; position++) {
        const int16_t *drive = current ? current + i : (const int16_t *)p->bias;
        for (c = 0; c + 2 <= channels; c += 2, i += 2) {
            const uint32_t threshold = sne_load_word(thresholds + c);
            uint32_t m = sne_load_word(v + i), halved;
            int32_t k;
            if (sne_saturating_sub(threshold, m) & 0x80008000u) { /* a lane is above its threshold */
                int32_t low = sne_low_lane(m), high = sne_high_lane(m);
                if (low > sne_low_lane(threshold)) {
                    events[n++] = (uint16_t)i;
                    low = sne_reset(low, sne_low_lane(threshold), reset);
                }
                if (high > sne_high_lane(threshold)) {
                    events[n++] = (uint16_t)(i + 1);
                    high = sne_reset(high, sne_high_lane(threshold), reset);
                }
                m = ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
            }
            if (decay == SNE_DECAY_SHIFT) {
                halved = m;
                for (k = 0; k < factor; k++) {
                    halved = sne_halve(halved);
                }
                m = sne_sub_lanes(m, halved);
            }
            sne_store_word(v + i, sne_add_lanes(m, sne_load_word(drive + c)));
        }
        if (c < channels) {
            int32_t m = v[i];
            if (m > thresholds[c]) {
                events[n++] = (uint16_t)i;
                m = sne_reset(m, thresholds[c], reset);
            }
            v[i] = (int16_t)(sne_decayed(m, factor, decay, 16) + drive[c]);
            i++;
        }
    }
    return n;
}

#endif
