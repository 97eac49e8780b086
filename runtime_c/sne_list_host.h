/* Listing a word of spikes on a computer without a branch on any of them: sixteen or eight places at once, those of the spikes
 * moved together. No entry beyond the last is written. */
#ifndef SNE_LIST_HOST_H
#define SNE_LIST_HOST_H

#include <immintrin.h>

#include "sne_core.h"

#if defined(__AVX512F__)

/* The rows row + i * step of the spikes i. Returns the list's end. */
SNE_INLINE uint32_t *sne_list_word(uint32_t spikes, uint32_t row, uint32_t step, uint32_t *rows)
{
    const __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i steps = _mm512_mullo_epi32(places, _mm512_set1_epi32((int)step));
    int half;
    for (half = 0; half < 2; half++, spikes >>= 16, row += 16u * step) {
        const uint32_t some = spikes & 0xffffu, n = (uint32_t)__builtin_popcount(some);
        const __m512i all = _mm512_add_epi32(steps, _mm512_set1_epi32((int)row));
        _mm512_mask_storeu_epi32(rows, (__mmask16)((1u << n) - 1u), _mm512_maskz_compress_epi32((__mmask16)some, all));
        rows += n;
    }
    return rows;
}

#else

/* The same, with AVX2 and BMI2. */
SNE_INLINE uint32_t *sne_list_word(uint32_t spikes, uint32_t row, uint32_t step, uint32_t *rows)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), steps = _mm256_set1_epi32((int)step);
    for (; spikes; spikes >>= 8, row += 8u * step) {
        const uint64_t bytes = _pdep_u64(spikes & 0xffu, 0x0101010101010101u) * 0xffu; /* of a spike: all ones */
        const __m128i places = _mm_cvtsi64_si128((long long)_pext_u64(0x0706050403020100u, bytes));
        const int n = __builtin_popcount(spikes & 0xffu);
        const __m256i some = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(places), steps);
        _mm256_maskstore_epi32((int *)rows, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes),
                               _mm256_add_epi32(some, _mm256_set1_epi32((int)row)));
        rows += n;
    }
    return rows;
}

#endif

#endif
