/* Accumulation with Helium (Cortex-M55): widening byte loads and eight int16 lanes; tails are predicated. */
#ifndef SNE_ACCUMULATE_HELIUM_H
#define SNE_ACCUMULATE_HELIUM_H

#include <arm_mve.h>

#include "sne_accumulate_portable.h"

/* Thirty-two outputs stay in four vector registers over `n` rows, at least one. */
SNE_INLINE void sne_add_32_helium(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n)
{
    int16x8_t a0 = vldrhq_s16(v), a1 = vldrhq_s16(v + 8), a2 = vldrhq_s16(v + 16), a3 = vldrhq_s16(v + 24);
    int16x8_t w;
    const sne_weight *row;
    __asm__ volatile("dls lr, %[n]\n"
                     "1:\n"
                     "ldr %[row], [%[rows]], #4\n"
                     "add %[row], %[row], %[weight]\n"
                     "vldrb.s16 %q[w], [%[row]]\n"
                     "vadd.i16 %q[a0], %q[a0], %q[w]\n"
                     "vldrb.s16 %q[w], [%[row], #8]\n"
                     "vadd.i16 %q[a1], %q[a1], %q[w]\n"
                     "vldrb.s16 %q[w], [%[row], #16]\n"
                     "vadd.i16 %q[a2], %q[a2], %q[w]\n"
                     "vldrb.s16 %q[w], [%[row], #24]\n"
                     "vadd.i16 %q[a3], %q[a3], %q[w]\n"
                     "le lr, 1b\n"
                     : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [w] "=&w"(w), [row] "=&l"(row),
                       [rows] "+r"(rows)
                     : [n] "r"(n), [weight] "r"(weight)
                     : "lr", "memory");
    vstrhq_s16(v, a0);
    vstrhq_s16(v + 8, a1);
    vstrhq_s16(v + 16, a2);
    vstrhq_s16(v + 24, a3);
}

SNE_INLINE void sne_add_8_helium(int16_t *v, const sne_weight *weight, const uint32_t *rows, size_t n, size_t count)
{
    const mve_pred16_t lanes = vctp16q((uint32_t)count);
    int16x8_t sum = vldrhq_z_s16(v, lanes);
    size_t e;
    for (e = 0; e < n; e++) {
        sum = vaddq_s16(sum, vldrbq_z_s16(weight + rows[e], lanes));
    }
    vstrhq_p_s16(v, sum, lanes);
}

SNE_INLINE void sne_add_rows_helium(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n,
                                    int width)
{
    int16_t sums[32], *at = (int16_t *)v;
    int32_t *wide = (int32_t *)v;
    while (n && stride) {
        const size_t count = stride >= 32 ? 32 : stride < 8 ? stride : 8;
        size_t j;
        if (width != 16) { /* sums of up to 255 weights fit in lanes */
            at = sums;
            for (j = 0; j < count; j++) {
                sums[j] = 0;
            }
        }
        if (count == 32) {
            sne_add_32_helium(at, weight, rows, n);
        } else {
            sne_add_8_helium(at, weight, rows, n, count);
        }
        for (j = 0; width != 16 && j < count; j++) {
            *wide++ += sums[j];
        }
        at += count;
        weight += count;
        stride -= count;
    }
}

SNE_INLINE void sne_add_row_helium(void *v, const sne_weight *weight, size_t stride, int width)
{
    int16_t *at = (int16_t *)v;
    if (width != 16) {
        sne_add_row_portable(v, weight, stride, width);
        return;
    }
    for (; stride >= 8; stride -= 8, at += 8, weight += 8) {
        vstrhq_s16(at, vaddq_s16(vldrhq_s16(at), vldrbq_s16(weight)));
    }
    if (stride) {
        const mve_pred16_t lanes = vctp16q(4);
        vstrhq_p_s16(at, vaddq_s16(vldrhq_z_s16(at, lanes), vldrbq_z_s16(weight, lanes)), lanes);
    }
}

#endif
