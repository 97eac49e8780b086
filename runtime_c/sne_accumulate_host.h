/* Accumulation on a computer: sixteen outputs a vector, by GCC's and clang's vector extensions. A block of outputs stays
 * in registers over all rows; what is left of a row is added eight or four outputs at a time. */
#ifndef SNE_ACCUMULATE_HOST_H
#define SNE_ACCUMULATE_HOST_H

#include <string.h>
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

#include "sne_accumulate_portable.h"

typedef int8_t sne_8x16 __attribute__((vector_size(16)));
typedef int16_t sne_16x16 __attribute__((vector_size(32)));
typedef int32_t sne_32x16 __attribute__((vector_size(64)));
typedef int8_t sne_8x8 __attribute__((vector_size(8)));
typedef int16_t sne_16x8 __attribute__((vector_size(16)));
typedef int8_t sne_8x4 __attribute__((vector_size(4)));
typedef int16_t sne_16x4 __attribute__((vector_size(8)));
typedef int32_t sne_32x4 __attribute__((vector_size(16)));

enum { SNE_BLOCK = 8 }; /* vectors that stay in registers */

/* Sixteen weights as int16. GCC 12 makes five instructions of what its own builtin does in one. */
SNE_INLINE void sne_widen(sne_16x16 *wide, const sne_weight *weight)
{
#if defined(__AVX2__) && !defined(__clang__)
    typedef char sne_bytes __attribute__((vector_size(16)));
    sne_bytes w;
    memcpy(&w, weight, sizeof w);
    *wide = (sne_16x16)__builtin_ia32_pmovsxbw256(w);
#else
    sne_8x16 w;
    memcpy(&w, weight, sizeof w);
    *wide = __builtin_convertvector(w, sne_16x16);
#endif
}

#if defined(__AVX512BW__)
/* The same of an even `count`: half as many vectors, for one widening load a cycle is the limit. */
SNE_INLINE void sne_twice_16(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n, size_t count)
{
    __m512i sums[SNE_BLOCK / 2];
    size_t e, k;
    memcpy(sums, v, count / 2 * sizeof *sums);
    for (e = 0; e < n; e++) {
        const sne_weight *const row = weight + rows[e];
#pragma GCC unroll 8
        for (k = 0; k < count / 2; k++) {
            sums[k] = _mm512_add_epi16(sums[k], _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(row + 32 * k))));
        }
    }
    memcpy(v, sums, count / 2 * sizeof *sums);
}
#endif

/* `count` (a constant) vectors of sixteen outputs. */
SNE_INLINE void sne_block_16(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n, size_t count)
{
    sne_16x16 sums[SNE_BLOCK];
    size_t e, k;
#if defined(__AVX512BW__)
    if (count % 2 == 0) {
        sne_twice_16(v, weight, rows, n, count);
        return;
    }
#endif
    memcpy(sums, v, count * sizeof *sums);
    for (e = 0; e < n; e++) {
        const sne_weight *const row = weight + rows[e];
#pragma GCC unroll 8
        for (k = 0; k < count; k++) {
            sne_16x16 w;
            sne_widen(&w, row + 16 * k);
            sums[k] += w;
        }
    }
    memcpy(v, sums, count * sizeof *sums);
}

SNE_INLINE void sne_block_32(int32_t *v, const sne_weight *weight, const uint32_t *rows, size_t n, size_t count)
{
    sne_32x16 sums[SNE_BLOCK];
    size_t e, k;
    memcpy(sums, v, count * sizeof *sums);
    for (e = 0; e < n; e++) {
        const sne_weight *const row = weight + rows[e];
#pragma GCC unroll 8
        for (k = 0; k < count; k++) {
            sne_8x16 w;
            memcpy(&w, row + 16 * k, sizeof w);
            sums[k] += __builtin_convertvector(w, sne_32x16);
        }
    }
    memcpy(v, sums, count * sizeof *sums);
}

/* Eight outputs. */
SNE_INLINE void sne_eight_16(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n)
{
    sne_16x8 sum;
    size_t e;
    memcpy(&sum, v, sizeof sum);
    for (e = 0; e < n; e++) {
        sne_8x8 w;
        memcpy(&w, weight + rows[e], sizeof w);
        sum += __builtin_convertvector(w, sne_16x8);
    }
    memcpy(v, &sum, sizeof sum);
}

/* Four outputs. */
SNE_INLINE void sne_four_16(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n)
{
    sne_16x4 sum;
    size_t e;
    memcpy(&sum, v, sizeof sum);
    for (e = 0; e < n; e++) {
        sne_8x4 w;
        memcpy(&w, weight + rows[e], sizeof w);
        sum += __builtin_convertvector(w, sne_16x4);
    }
    memcpy(v, &sum, sizeof sum);
}

SNE_INLINE void sne_four_32(int32_t *v, const sne_weight *weight, const uint32_t *rows, size_t n)
{
    sne_32x4 sum;
    size_t e;
    memcpy(&sum, v, sizeof sum);
    for (e = 0; e < n; e++) {
        sne_8x4 w;
        memcpy(&w, weight + rows[e], sizeof w);
        sum += __builtin_convertvector(w, sne_32x4);
    }
    memcpy(v, &sum, sizeof sum);
}

SNE_INLINE void sne_block(void *v, size_t at, const sne_weight *weight, const uint32_t *rows, size_t n, size_t count,
                          int width)
{
    if (width == 16) {
        sne_block_16((int16_t *)v + at, weight + at, rows, n, count);
    } else {
        sne_block_32((int32_t *)v + at, weight + at, rows, n, count);
    }
}

SNE_INLINE void sne_add_rows_host(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                  size_t stride, int width)
{
    const size_t n = (size_t)(end - rows);
    size_t j = 0;
    for (; j + 128 <= stride; j += 128) {
        sne_block(v, j, weight, rows, n, 8, width);
    }
    for (; j + 64 <= stride; j += 64) {
        sne_block(v, j, weight, rows, n, 4, width);
    }
    for (; j + 32 <= stride; j += 32) {
        sne_block(v, j, weight, rows, n, 2, width);
    }
    for (; j + 16 <= stride; j += 16) {
        sne_block(v, j, weight, rows, n, 1, width);
    }
    for (; width == 16 && j + 8 <= stride; j += 8) {
        sne_eight_16((int16_t *)v + j, weight + j, rows, n);
    }
    for (; j < stride; j += 4) {
        if (width == 16) {
            sne_four_16((int16_t *)v + j, weight + j, rows, n);
        } else {
            sne_four_32((int32_t *)v + j, weight + j, rows, n);
        }
    }
}

SNE_INLINE void sne_add_row_host(void *v, const sne_weight *weight, size_t stride, int width)
{
    const uint32_t row = 0;
    sne_add_rows_host(v, weight, &row, &row + 1, stride, width);
}

#endif
