/* Multiplication with Helium (Cortex-M55): widening byte loads, four sums of 32 bits in a vector. */
#ifndef SNE_MULTIPLY_HELIUM_H
#define SNE_MULTIPLY_HELIUM_H

#include <arm_mve.h>

#include "sne_dsp.h"
#include "sne_weights.h"

#define SNE_NEXT_PAIR_HELIUM                \
    "dls lr, %[n]\n"                        \
    "1:\n"                                  \
    "ldrd %[row], %[y], [%[pairs]], #8\n"   \
    "add %[row], %[row], %[weight]\n"       \
    "sxth %[x], %[y]\n"                     \
    "asr %[y], %[y], #16\n"

#define SNE_MAC_16_HELIUM                                             \
    "vldrb.s32 %q[w], [%[row], #0]\n vmla.s32 %q[a0], %q[w], %[x]\n"  \
    "vldrb.s32 %q[w], [%[row], #8]\n vmla.s32 %q[a1], %q[w], %[x]\n"  \
    "vldrb.s32 %q[w], [%[row], #16]\n vmla.s32 %q[a2], %q[w], %[x]\n" \
    "vldrb.s32 %q[w], [%[row], #24]\n vmla.s32 %q[a3], %q[w], %[x]\n" \
    "vldrb.s32 %q[w], [%[row], #4]\n vmla.s32 %q[a0], %q[w], %[y]\n"  \
    "vldrb.s32 %q[w], [%[row], #12]\n vmla.s32 %q[a1], %q[w], %[y]\n" \
    "vldrb.s32 %q[w], [%[row], #20]\n vmla.s32 %q[a2], %q[w], %[y]\n" \
    "vldrb.s32 %q[w], [%[row], #28]\n vmla.s32 %q[a3], %q[w], %[y]\n"

#define SNE_MAC_8_HELIUM                                              \
    "vldrb.s32 %q[w], [%[row], #32]\n vmla.s32 %q[a4], %q[w], %[x]\n" \
    "vldrb.s32 %q[w], [%[row], #40]\n vmla.s32 %q[a5], %q[w], %[x]\n" \
    "vldrb.s32 %q[w], [%[row], #36]\n vmla.s32 %q[a4], %q[w], %[y]\n" \
    "vldrb.s32 %q[w], [%[row], #44]\n vmla.s32 %q[a5], %q[w], %[y]\n"

/* Sixteen or (`more`) twenty-four outputs. */
SNE_INLINE void sne_mac_many_helium(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                                    int more)
{
    int32x4_t a0 = vldrwq_s32(sums), a1 = vldrwq_s32(sums + 4), a2 = vldrwq_s32(sums + 8), a3 = vldrwq_s32(sums + 12);
    int32x4_t w;
    const sne_weight *row;
    int32_t x, y;
    if (more) {
        int32x4_t a4 = vldrwq_s32(sums + 16), a5 = vldrwq_s32(sums + 20);
        __asm__ volatile(SNE_NEXT_PAIR_HELIUM SNE_MAC_16_HELIUM SNE_MAC_8_HELIUM "le lr, 1b\n"
                         : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [a4] "+w"(a4), [a5] "+w"(a5),
                           [w] "=&w"(w), [row] "=&l"(row), [x] "=&r"(x), [y] "=&r"(y), [pairs] "+r"(pairs)
                         : [n] "r"((end - pairs) / 2), [weight] "r"(weight)
                         : "lr", "memory");
        vstrwq_s32(sums + 16, a4);
        vstrwq_s32(sums + 20, a5);
    } else {
        __asm__ volatile(SNE_NEXT_PAIR_HELIUM SNE_MAC_16_HELIUM "le lr, 1b\n"
                         : [a0] "+w"(a0), [a1] "+w"(a1), [a2] "+w"(a2), [a3] "+w"(a3), [w] "=&w"(w),
                           [row] "=&l"(row), [x] "=&r"(x), [y] "=&r"(y), [pairs] "+r"(pairs)
                         : [n] "r"((end - pairs) / 2), [weight] "r"(weight)
                         : "lr", "memory");
    }
    vstrwq_s32(sums, a0);
    vstrwq_s32(sums + 4, a1);
    vstrwq_s32(sums + 8, a2);
    vstrwq_s32(sums + 12, a3);
}

/* Four or (`more`) eight outputs. */
SNE_INLINE void sne_mac_few_helium(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                                   int more)
{
    int32x4_t a0 = vldrwq_s32(sums), a1 = more ? vldrwq_s32(sums + 4) : a0;
    for (; pairs != end; pairs += 2) {
        const sne_weight *w = weight + pairs[0];
        const int32_t x = (int16_t)(uint16_t)pairs[1], y = (int32_t)pairs[1] >> 16;
        a0 = vmlaq_n_s32(a0, vldrbq_s32(w), x);
        a0 = vmlaq_n_s32(a0, vldrbq_s32(w + 4), y);
        if (more) {
            a1 = vmlaq_n_s32(a1, vldrbq_s32(w + 8), x);
            a1 = vmlaq_n_s32(a1, vldrbq_s32(w + 12), y);
        }
    }
    vstrwq_s32(sums, a0);
    if (more) {
        vstrwq_s32(sums + 4, a1);
    }
}

SNE_INLINE void sne_mac_helium(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                               size_t count)
{
    if (count == 24) {
        sne_mac_many_helium(sums, weight, pairs, end, 1);
        return;
    }
    if (count >= 16) {
        sne_mac_many_helium(sums, weight, pairs, end, 0);
        count -= 16;
        sums += 16;
        weight += 32;
    }
    if (count >= 8) {
        sne_mac_few_helium(sums, weight, pairs, end, 1);
        count -= 8;
        sums += 8;
        weight += 16;
    }
    if (count) {
        sne_mac_few_helium(sums, weight, pairs, end, 0);
    }
}

#endif
