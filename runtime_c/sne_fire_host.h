/* Firing on a computer: sixteen int16 membranes at once, every kind of neuron; what is left of a position is fired one by
 * one. */
#ifndef SNE_FIRE_HOST_H
#define SNE_FIRE_HOST_H

#include <string.h>

#include "sne_neuron.h"

typedef int16_t sne_lanes __attribute__((vector_size(32)));
typedef int32_t sne_wide_lanes __attribute__((vector_size(64)));
typedef int8_t sne_narrow_lanes __attribute__((vector_size(16)));

/* One bit for each of sixteen bytes that are 0 or 1. A product gathers those of eight bytes in its highest one. */
SNE_INLINE uint32_t sne_bits_of(const uint64_t *ones)
{
    const uint64_t gather = 0x0102040810204080u;
    return (uint32_t)(ones[0] * gather >> 56) | (uint32_t)(ones[1] * gather >> 56) << 8;
}

/* Or sixteen bits into a map, from bit `first` on; nothing beyond the last that is set is touched. */
SNE_INLINE void sne_set_sixteen(uint32_t *bits, size_t first, uint32_t fired)
{
    const uint32_t at = first & 31u;
    bits[first >> 5] |= fired << at;
    if (at > 16u && fired >> (32u - at)) {
        bits[(first >> 5) + 1] |= fired >> (32u - at);
    }
}

SNE_INLINE size_t sne_fire_host(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions, uint32_t *bits,
                                size_t first, int decay, int32_t factor, int reset, int clamp)
{
    const int16_t low = (int16_t)p->clamp_low, high = (int16_t)p->clamp_high;
    const size_t whole = p->channels & ~(size_t)15;
    const int16_t *const thresholds = (const int16_t *)p->threshold;
    sne_neurons rest = *p;
    size_t position, c, n = 0;
    rest.threshold = thresholds + whole;
    rest.channels = (uint16_t)(p->channels - whole);
    for (position = 0; position < positions; position++, first += p->channels, v += p->stride) {
        for (c = 0; c < whole; c += 16) {
            sne_lanes m, threshold, add, over;
            sne_narrow_lanes narrow;
            uint64_t ones[2];
            memcpy(&m, v + c, sizeof m);
            memcpy(&threshold, thresholds + c, sizeof threshold);
            memcpy(&add, drive + c, sizeof add);
            over = m > threshold;
            narrow = __builtin_convertvector(over, sne_narrow_lanes) & 1;
            memcpy(ones, &narrow, sizeof ones);
            if (ones[0] | ones[1]) {
                const uint32_t fired = sne_bits_of(ones);
                sne_set_sixteen(bits, first + c, fired);
                n += (size_t)__builtin_popcount(fired);
            }
            if (reset == SNE_RESET_SUBTRACT) {
                m -= threshold & over;
            } else if (reset == SNE_RESET_ZERO) {
                m &= ~over;
            }
            if (clamp) {
                const sne_lanes below = m < low, above = m > high;
                m = (m & ~below & ~above) | (low & below) | (high & above);
            }
            if (decay == SNE_DECAY_SHIFT) {
                m -= m >> (int16_t)factor;
            } else if (decay == SNE_DECAY_Q15) {
                m = __builtin_convertvector((__builtin_convertvector(m, sne_wide_lanes) * factor) >> 15, sne_lanes);
            }
            if (reset == SNE_RESET_DELAYED) {
                m -= threshold & over;
            }
            m += add;
            memcpy(v + c, &m, sizeof m);
        }
        if (rest.channels) {
            n += sne_fire_portable(&rest, v + whole, drive + whole, 1, bits, first + whole, 16, decay, factor, reset,
                                   clamp);
        }
    }
    return n;
}

#endif
