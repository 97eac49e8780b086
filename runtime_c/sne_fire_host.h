/* Firing on a computer: sixteen int16 membranes at once, every kind of neuron; what is left of a position is fired one by
 * one. */
#ifndef SNE_FIRE_HOST_H
#define SNE_FIRE_HOST_H

#include <string.h>
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

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

#if defined(__AVX512BW__)
/* One position's first `whole` neurons, 32 at a time: a comparison's mask is the spikes' bits. */
SNE_INLINE size_t sne_fire_512(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t whole, uint32_t *bits,
                               size_t first, int decay, int32_t factor, int reset, int clamp)
{
    const __m512i low = _mm512_set1_epi16((short)p->clamp_low), high = _mm512_set1_epi16((short)p->clamp_high);
    const __m512i factors = _mm512_set1_epi16((short)factor);
    const __m128i shift = _mm_cvtsi32_si128((int)factor);
    const int16_t *const thresholds = (const int16_t *)p->threshold;
    size_t c, n = 0;
    for (c = 0; c < whole; c += 32) {
        const __m512i threshold = _mm512_loadu_si512(thresholds + c);
        __m512i m = _mm512_loadu_si512(v + c);
        const __mmask32 over = _mm512_cmpgt_epi16_mask(m, threshold);
        const uint32_t fired = (uint32_t)over;
        sne_set_sixteen(bits, first + c, fired & 0xffffu);
        sne_set_sixteen(bits, first + c + 16, fired >> 16);
        n += (size_t)__builtin_popcount(fired);
        if (reset == SNE_RESET_SUBTRACT) {
            m = _mm512_mask_sub_epi16(m, over, m, threshold);
        } else if (reset == SNE_RESET_ZERO) {
            m = _mm512_maskz_mov_epi16((__mmask32)~over, m);
        }
        if (clamp) {
            m = _mm512_max_epi16(_mm512_min_epi16(m, high), low);
        }
        if (decay == SNE_DECAY_SHIFT) {
            m = _mm512_sub_epi16(m, _mm512_sra_epi16(m, shift));
        } else if (decay == SNE_DECAY_Q15) { /* bits 15 to 30 of the products */
            m = _mm512_or_si512(_mm512_slli_epi16(_mm512_mulhi_epi16(m, factors), 1),
                                _mm512_srli_epi16(_mm512_mullo_epi16(m, factors), 15));
        }
        if (reset == SNE_RESET_DELAYED) {
            m = _mm512_mask_sub_epi16(m, over, m, threshold);
        }
        _mm512_storeu_si512(v + c, _mm512_add_epi16(m, _mm512_loadu_si512(drive + c)));
    }
    return n;
}
#endif

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
        c = 0;
#if defined(__AVX512BW__)
        c = whole & ~(size_t)31;
        n += sne_fire_512(p, v, drive, c, bits, first, decay, factor, reset, clamp);
#endif
        for (; c < whole; c += 16) {
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
