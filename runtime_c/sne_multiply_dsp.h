/* Multiplication with the DSP extension (Cortex-M4, M7, M33): SMLAD adds two products, those of two inputs, to a sum. */
#ifndef SNE_MULTIPLY_DSP_H
#define SNE_MULTIPLY_DSP_H

#include "sne_dsp.h"
#include "sne_weights.h"

/* sums[j] += both inputs' weights times their values, for eight outputs, over all entries (sne_multiply.h).
 *
 * Reads   r0 sums, r1 weight, r2 pairs, r3 end; the entries and their rows' sixteen weights
 * Writes  sums
 * Holds   one entry at least; all lie at words; sums are modulo 2^32
 * Uses    r4 to r11 the sums; r3 two values; r0, r12, lr weights. On the stack: sums, end, r4 to r11, return address */
SNE_NAKED void sne_mac_eight_dsp(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                 SNE_REGISTER const uint32_t *pairs, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile(
        "push {r0, r3-r11, lr}\n"
        "ldm r0, {r4-r11}\n"
        "sub r0, r3, r2\n"
        "lsls r0, r0, #28\n" /* an odd number of entries starts in the middle */
        "bmi 2f\n"
        ".irp entry, 1, 2\n"
        "\\entry:\n"
        "ldrd r0, r3, [r2], #8\n"
        "add r0, r0, r1\n"
        "ldr lr, [r0]\n"
        "sxtb16 r12, lr\n"
        "sxtb16 lr, lr, ror #8\n"
        "smlad r4, r12, r3, r4\n"
        "smlad r5, lr, r3, r5\n"
        "ldr lr, [r0, #4]\n"
        "sxtb16 r12, lr\n"
        "sxtb16 lr, lr, ror #8\n"
        "smlad r6, r12, r3, r6\n"
        "smlad r7, lr, r3, r7\n"
        "ldrd r12, lr, [r0, #8]\n"
        "sxtb16 r0, r12\n"
        "sxtb16 r12, r12, ror #8\n"
        "smlad r8, r0, r3, r8\n"
        "smlad r9, r12, r3, r9\n"
        "sxtb16 r0, lr\n"
        "sxtb16 lr, lr, ror #8\n"
        "smlad r10, r0, r3, r10\n"
        "smlad r11, lr, r3, r11\n"
        ".endr\n"
        "ldr r0, [sp, #4]\n"
        "cmp r2, r0\n"
        "bne 1b\n"
        "pop {r0, r3}\n"
        "stm r0, {r4-r11}\n"
        "pop {r4-r11, pc}\n");
}

/* Four outputs. */
SNE_INLINE void sne_mac_four_dsp(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end)
{
    uint32_t a0 = (uint32_t)sums[0], a1 = (uint32_t)sums[1], a2 = (uint32_t)sums[2], a3 = (uint32_t)sums[3];
    for (; pairs != end; pairs += 2) {
        const sne_weight *w = weight + pairs[0];
        const uint32_t low = sne_load_word(w), high = sne_load_word(w + 4);
        a0 = sne_dual_mac(a0, sne_even_bytes(low), pairs[1]);
        a1 = sne_dual_mac(a1, sne_odd_bytes(low), pairs[1]);
        a2 = sne_dual_mac(a2, sne_even_bytes(high), pairs[1]);
        a3 = sne_dual_mac(a3, sne_odd_bytes(high), pairs[1]);
    }
    sums[0] = (int32_t)a0;
    sums[1] = (int32_t)a1;
    sums[2] = (int32_t)a2;
    sums[3] = (int32_t)a3;
}

SNE_INLINE void sne_mac_dsp(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                            size_t count)
{
    if (count == 8) {
        sne_mac_eight_dsp(sums, weight, pairs, end);
    } else {
        sne_mac_four_dsp(sums, weight, pairs, end);
    }
}

#endif
