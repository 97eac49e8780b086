/* 4-bit weights with Helium (Cortex-M55): 32 weights in a vector register.
 *
 * A nibble is at most 15, so a byte lane holds the sums of seventeen. Whole bytes are summed (modulo 256) as well as
 * their high nibbles; taken together they give the sums of the low ones: low = all - (high << 4). Every sixteen rows,
 * bytes are widened and added to the membranes, which are gathered pair by pair, as the nibbles lie. */
#ifndef SNE_NIBBLES_HELIUM_H
#define SNE_NIBBLES_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

#define SNE_NIBBLE_ROWS 16u /* that are summed in bytes */

/* Pair `i` of every eight of 32 membranes plus sums. */
SNE_INLINE void sne_spread_pair_32_helium(int16_t *v, int i, int16x8_t sums)
{
    const uint32x4_t steps = vidupq_n_u32(0, 4);
    uint32_t *const pair = (uint32_t *)(void *)v + i;
    const int16x8_t old = vreinterpretq_s16_u32(vldrwq_gather_shifted_offset_u32(pair, steps));
    vstrwq_scatter_shifted_offset_u32(pair, steps, vreinterpretq_u32_s16(vaddq_s16(old, sums)));
}

/* The same of `outputs`, 32 at most. */
SNE_INLINE void sne_spread_pair_helium(int16_t *v, int i, int16x8_t sums, size_t outputs)
{
    const mve_pred16_t lanes = vctp32q((uint32_t)(i < 2 ? outputs + 4 : outputs) >> 3); /* the last eight may be four */
    const uint32x4_t steps = vidupq_n_u32(0, 4);
    uint32_t *const pair = (uint32_t *)(void *)v + i;
    const int16x8_t old = vreinterpretq_s16_u32(vldrwq_gather_shifted_offset_z_u32(pair, steps, lanes));
    vstrwq_scatter_shifted_offset_p_u32(pair, steps, vreinterpretq_u32_s16(vaddq_s16(old, sums)), lanes);
}

/* The `outputs` membranes at `v`, 32 at most, plus what the nibbles of `n` rows sum to: less 8 n, that fits in a byte. */
SNE_INLINE void sne_spread_helium(int16_t *v, uint8x16_t all, uint8x16_t high, size_t n, size_t outputs)
{
    const uint8_t bias = (uint8_t)(8u * n);
    const int8x16_t low = vreinterpretq_s8_u8(vsubq_n_u8(vsubq_u8(all, vshlq_n_u8(high, 4)), bias));
    const int8x16_t top = vreinterpretq_s8_u8(vsubq_n_u8(high, bias));
    if (outputs == 32) {
        sne_spread_pair_32_helium(v, 0, vmovlbq_s8(low));
        sne_spread_pair_32_helium(v, 1, vmovltq_s8(low));
        sne_spread_pair_32_helium(v, 2, vmovlbq_s8(top));
        sne_spread_pair_32_helium(v, 3, vmovltq_s8(top));
    } else {
        sne_spread_pair_helium(v, 0, vmovlbq_s8(low), outputs);
        sne_spread_pair_helium(v, 1, vmovltq_s8(low), outputs);
        sne_spread_pair_helium(v, 2, vmovlbq_s8(top), outputs);
        sne_spread_pair_helium(v, 3, vmovltq_s8(top), outputs);
    }
}

/* 64 outputs over `n` rows, at least one, SNE_NIBBLE_ROWS at most. */
SNE_INLINE void sne_add_64_nibbles(int16_t *v, const uint8_t *weight, const uint32_t *rows, size_t n)
{
    uint8x16_t all0 = vdupq_n_u8(0), high0 = all0, all1 = all0, high1 = all0, w;
    const uint8_t *row;
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n"
                     "ldr %[row], [%[rows]], #4\n"
                     "add %[row], %[row], %[weight]\n"
                     "vldrb.u8 %q[w], [%[row]]\n"
                     "vadd.i8 %q[all0], %q[all0], %q[w]\n"
                     "vshr.u8 %q[w], %q[w], #4\n"
                     "vadd.i8 %q[high0], %q[high0], %q[w]\n"
                     "vldrb.u8 %q[w], [%[row], #16]\n"
                     "vadd.i8 %q[all1], %q[all1], %q[w]\n"
                     "vshr.u8 %q[w], %q[w], #4\n"
                     "vadd.i8 %q[high1], %q[high1], %q[w]\n"
                     "le lr, 1b\n"
                     : [all0] "+w"(all0), [high0] "+w"(high0), [all1] "+w"(all1), [high1] "+w"(high1), [w] "=&w"(w),
                       [row] "=&l"(row), [rows] "+r"(rows)
                     : [n] "r"(n), [weight] "r"(weight)
                     : "lr", "memory");
    sne_spread_helium(v, all0, high0, n, 32);
    sne_spread_helium(v + 32, all1, high1, n, 32);
}

/* 32 outputs, likewise. */
SNE_INLINE void sne_add_32_nibbles(int16_t *v, const uint8_t *weight, const uint32_t *rows, size_t n)
{
    uint8x16_t all = vdupq_n_u8(0), high = all, w;
    const uint8_t *row;
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n"
                     "ldr %[row], [%[rows]], #4\n"
                     "add %[row], %[row], %[weight]\n"
                     "vldrb.u8 %q[w], [%[row]]\n"
                     "vadd.i8 %q[all], %q[all], %q[w]\n"
                     "vshr.u8 %q[w], %q[w], #4\n"
                     "vadd.i8 %q[high], %q[high], %q[w]\n"
                     "le lr, 1b\n"
                     : [all] "+w"(all), [high] "+w"(high), [w] "=&w"(w), [row] "=&l"(row), [rows] "+r"(rows)
                     : [n] "r"(n), [weight] "r"(weight)
                     : "lr", "memory");
    sne_spread_helium(v, all, high, n, 32);
}

/* Up to 31 outputs, likewise. */
SNE_INLINE void sne_add_few_nibbles_helium(int16_t *v, const uint8_t *weight, const uint32_t *rows, size_t n,
                                           size_t outputs)
{
    const mve_pred16_t lanes = vctp32q((uint32_t)(outputs + 4) >> 3);
    uint8x16_t all = vdupq_n_u8(0), high = all;
    size_t e;
    for (e = 0; e < n; e++) {
        const uint32_t *const row = (const uint32_t *)(const void *)(weight + rows[e]);
        const uint8x16_t w = vreinterpretq_u8_u32(vldrwq_z_u32(row, lanes));
        all = vaddq_u8(all, w);
        high = vaddq_u8(high, vshrq_n_u8(w, 4));
    }
    sne_spread_helium(v, all, high, n, outputs);
}

SNE_INLINE void sne_add_nibbles_helium(void *v, const uint8_t *weight, size_t stride, const uint32_t *rows, size_t n,
                                       int width)
{
    int16_t sums[64], *at = (int16_t *)v;
    int32_t *wide = (int32_t *)v;
    while (stride) {
        const size_t count = stride >= 64 ? 64 : stride < 32 ? stride : 32;
        size_t done, j;
        if (width != 16) { /* sums of up to 4096 weights fit in lanes */
            at = sums;
            for (j = 0; j < count; j++) {
                sums[j] = 0;
            }
        }
        for (done = 0; done < n; done += SNE_NIBBLE_ROWS) {
            const size_t some = n - done < SNE_NIBBLE_ROWS ? n - done : SNE_NIBBLE_ROWS;
            if (count == 64) {
                sne_add_64_nibbles(at, weight, rows + done, some);
            } else if (count == 32) {
                sne_add_32_nibbles(at, weight, rows + done, some);
            } else {
                sne_add_few_nibbles_helium(at, weight, rows + done, some, count);
            }
        }
        for (j = 0; width != 16 && j < count; j++) {
            *wide++ += sums[j];
        }
        at += count;
        weight += count / 2;
        stride -= count;
    }
}

SNE_INLINE void sne_add_nibble_row_helium(void *v, const uint8_t *weight, size_t stride, int width)
{
    int16_t *at = (int16_t *)v;
    if (width != 16) {
        sne_add_nibble_row_portable(v, weight, stride, width);
        return;
    }
    while (stride) {
        const size_t count = stride < 32 ? stride : 32;
        const mve_pred16_t lanes = vctp32q((uint32_t)(count + 4) >> 3);
        const uint8x16_t w = vreinterpretq_u8_u32(vldrwq_z_u32((const uint32_t *)(const void *)weight, lanes));
        sne_spread_helium(at, w, vshrq_n_u8(w, 4), 1, count);
        at += count;
        weight += 16;
        stride -= count;
    }
}

#endif
