/* Accumulation with Helium (Cortex-M55): widening byte loads and eight int16 lanes; tails are predicated. */
#ifndef SNE_ACCUMULATE_HELIUM_H
#define SNE_ACCUMULATE_HELIUM_H

#include <arm_mve.h>

#include "sne_accumulate_portable.h"

#define SNE_ROW_HELIUM(row)                    \
    "vldrb.s16 %q[w], [%[" row "]]\n"          \
    "vadd.i16 %q[a0], %q[a0], %q[w]\n"         \
    "vldrb.s16 %q[w], [%[" row "], #8]\n"      \
    "vadd.i16 %q[a1], %q[a1], %q[w]\n"         \
    "vldrb.s16 %q[w], [%[" row "], #16]\n"     \
    "vadd.i16 %q[a2], %q[a2], %q[w]\n"         \
    "vldrb.s16 %q[w], [%[" row "], #24]\n"     \
    "vadd.i16 %q[a3], %q[a3], %q[w]\n"

/* Thirty-two outputs stay in four vector registers over all rows, two of them at a time. */
SNE_INLINE void sne_add_32_helium(int16_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end)
{
    int16x8_t a0 = vldrhq_s16(v), a1 = vldrhq_s16(v + 8), a2 = vldrhq_s16(v + 16), a3 = vldrhq_s16(v + 24), w;
    const uint32_t n = (uint32_t)(end - rows);
    uint32_t row, next;
    __asm__ volatile("lsrs %[next], %[n], #1\n" /* carry: an odd number of rows */
                     "bcc 1f\n"
                     "ldr %[row], [%[rows]], #4\n"
                     "add %[row], %[row], %[weight]\n" SNE_ROW_HELIUM("row")
                     "1:\n"
                     "wls lr, %[next], 3f\n"
                     "2:\n"
                     "ldrd %[row], %[next], [%[rows]], #8\n"
                     "add %[row], %[row], %[weight]\n"
                     "add %[next], %[next], %[weight]\n" SNE_ROW_HELIUM("row") SNE_ROW_HELIUM("next")
                     "le lr, 2b\n"
                     "3:\n"
                     : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [w] "=&w"(w), [row] "=&l"(row),
                       [next] "=&l"(next), [rows] "+l"(rows)
                     : [n] "l"(n), [weight] "l"(weight)
                     : "lr", "memory", "cc");
    vstrhq_s16(v, a0);
    vstrhq_s16(v + 8, a1);
    vstrhq_s16(v + 16, a2);
    vstrhq_s16(v + 24, a3);
}

SNE_INLINE void sne_add_8_helium(int16_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 size_t count)
{
    const mve_pred16_t lanes = vctp16q((uint32_t)count);
    int16x8_t sum = vldrhq_z_s16(v, lanes);
    while (rows != end) {
        sum = vaddq_s16(sum, vldrbq_z_s16(weight + *rows++, lanes));
    }
    vstrhq_p_s16(v, sum, lanes);
}

SNE_OUTLINE void sne_add_rows_helium(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                     size_t stride, int turned)
{
    (void)turned; /* only the M0's are */
    int16_t *at = (int16_t *)v;
    for (; stride >= 32; stride -= 32, at += 32, weight += 32) {
        sne_add_32_helium(at, weight, rows, end);
    }
    while (stride) {
        const size_t count = stride < 8 ? stride : 8;
        sne_add_8_helium(at, weight, rows, end, count);
        at += count;
        weight += count;
        stride -= count;
    }
}

#define SNE_EIGHT_HELIUM(weights, membranes)      \
    "vldrb.s16 q0, [r1, #" #weights "]\n"         \
    "vldrh.u16 q1, [r0, #" #membranes "]\n"       \
    "vadd.i16 q0, q0, q1\n"                       \
    "vstrh.16 q0, [r0, #" #membranes "]\n"

/* Thirty-two outputs of a chain. */
SNE_NAKED void sne_chain_32_helium(SNE_REGISTER int16_t *v, SNE_REGISTER const sne_weight *weight, SNE_REGISTER size_t n,
                                 SNE_REGISTER const sne_chain *chain)
{
    __asm__ volatile("push {r4, lr}\n"
                     "ldrd r3, r12, [r3]\n"
                     "dls lr, r2\n"
                     "sub r12, r12, r3\n"
                     "1:\n"
                     SNE_EIGHT_HELIUM(0, 0)
                     SNE_EIGHT_HELIUM(8, 16)
                     SNE_EIGHT_HELIUM(16, 32)
                     SNE_EIGHT_HELIUM(24, 48)
                     "add r0, r0, r3, lsl #1\n"
                     "sub r1, r1, r12\n"
                     "le lr, 1b\n"
                     "pop {r4, pc}\n");
}

/* Up to eight of them. */
SNE_INLINE void sne_chain_8_helium(int16_t *v, const sne_weight *weight, size_t n, const sne_chain *chain, size_t count)
{
    const mve_pred16_t lanes = vctp16q((uint32_t)count);
    for (; n; n--, v += chain->stride, weight -= chain->next - chain->stride) {
        vstrhq_p_s16(v, vaddq_s16(vldrhq_z_s16(v, lanes), vldrbq_z_s16(weight, lanes)), lanes);
    }
}

/* Any chain. */
SNE_OUTLINE void sne_chain_helium(int16_t *v, const sne_weight *weight, size_t n, const sne_chain *chain)
{
    size_t left = chain->stride;
    for (; left >= 32; left -= 32, v += 32, weight += 32) {
        sne_chain_32_helium(v, weight, n, chain);
    }
    while (left) {
        const size_t count = left < 8 ? left : 8;
        sne_chain_8_helium(v, weight, n, chain, count);
        v += count;
        weight += count;
        left -= count;
    }
}

SNE_INLINE void sne_add_chain_helium(uint32_t *v, const sne_weight *weight, size_t n, const sne_chain *chain, int turned)
{
    (void)turned; /* only the M3's are */
    if (chain->stride == 32) {
        sne_chain_32_helium((int16_t *)v, weight, n, chain);
    } else {
        sne_chain_helium((int16_t *)v, weight, n, chain);
    }
}

#endif
