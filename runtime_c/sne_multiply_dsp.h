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

/* Lay fours of values of two windows side by side (sne_convolve.h): those from `a` to `end`, and those that lie `next` further
 * on. Returns the window's end, and adds the zeros among them to `zeros`, by bytes. */
SNE_INLINE uint32_t *sne_lay_fours_dsp(const int8_t *a, const int8_t *end, uint32_t next, uint32_t *window,
                                       uint32_t *zeros)
{
    const int8_t *b = a + next;
    uint32_t n = *zeros, w, x, y, z;
    __asm__ volatile(
        "1:\n"
        "ldr %[w], [%[a]], #4\n"
        "ldr %[x], [%[b]], #4\n"
        "uqsub8 %[y], %[ones], %[w]\n"
        "add %[n], %[n], %[y]\n"
        "uqsub8 %[z], %[ones], %[x]\n"
        "add %[n], %[n], %[z]\n"
        "sxtb16 %[y], %[w]\n"
        "sxtb16 %[z], %[x]\n"
        "strd %[y], %[z], [%[window]], #8\n"
        "sxtb16 %[w], %[w], ror #8\n"
        "sxtb16 %[x], %[x], ror #8\n"
        "strd %[w], %[x], [%[window]], #8\n"
        "cmp %[a], %[end]\n"
        "bne 1b\n"
        : [a] "+r"(a), [b] "+r"(b), [window] "+r"(window), [n] "+r"(n), [w] "=&r"(w), [x] "=&r"(x), [y] "=&r"(y),
          [z] "=&r"(z)
        : [end] "r"(end), [ones] "r"(0x01010101u)
        : "cc", "memory");
    *zeros = n;
    return window;
}

/* Both positions' sums of a window (sne_convolve.h), for all outputs j < stride: sums[j] = base[j] + weights times the first
 * one's values, sums[stride + j] = base[j] + weights times the second one's.
 *
 * A word of weights, (a, b, c, d) from its lowest byte on, has those of one output in a and c, of another in b and d, of
 * which SNE_D8 took 1 where a, or c, is below 0: as lanes, it is 256 b + a and 256 d + c. Two sums suffice: `all` takes the
 * word as it is, `even` its a and c, and the other output's is (all - even) / 256. A window's values are too few for sums
 * to run over.
 *
 * Reads   r0 sums, r1 weight, r2 window, r3 end, on the stack base, stride and skip, the bytes from a four's last weight used
 *         to the next four's first; the base, the window and its weights
 * Writes  the sums
 * Holds   one entry at least, 128 at most; stride a multiple of four, not 0; all lie at words; the base may be the first
 *         position's sums
 * Uses    r4, r5 `all` and r6, r7 `even` of either position for two outputs, r8 to r11 for the other two; r0, r3 an entry;
 *         r12, lr weights. On the stack: sums, window, end, r4 to r11, the sums' end, return address, base, stride, skip */
SNE_NAKED void sne_convolve_dsp(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                SNE_REGISTER const uint32_t *window, SNE_REGISTER const uint32_t *end,
                                SNE_REGISTER const int32_t *base, SNE_REGISTER size_t stride, SNE_REGISTER size_t skip)
{
    __asm__ volatile(
        "ldr r12, [sp, #4]\n"
        "add r12, r0, r12, lsl #2\n"
        "push {r0, r2-r12, lr}\n"
        "1:\n" /* four outputs */
        "sub r3, r3, r2\n"
        "mov r4, #0\n mov r5, #0\n mov r6, #0\n mov r7, #0\n"
        "mov r8, #0\n mov r9, #0\n mov r10, #0\n mov r11, #0\n"
        "ands r3, r3, #24\n" /* entries beyond fours: the first round starts so many before its end */
        "beq 2f\n"
        "rsb r3, r3, #32\n"
        "add r3, r3, r3, lsl #1\n"
        "adr r0, 2f\n"
        "add r0, r0, r3, lsl #1\n" /* 48 bytes an entry */
        "adds r0, r0, #1\n" /* Thumb */
        "bx r0\n"
        ".balign 4\n"
        "2:\n"
        ".rept 4\n"
        "ldrd r0, r3, [r2], #8\n"
        "ldrd r12, lr, [r1], #8\n"
        "smlad r4, r12, r0, r4\n"
        "smlad r5, r12, r3, r5\n"
        "sxtb16 r12, r12\n"
        "smlad r6, r12, r0, r6\n"
        "smlad r7, r12, r3, r7\n"
        "smlad r8, lr, r0, r8\n"
        "smlad r9, lr, r3, r9\n"
        "sxtb16 lr, lr\n"
        "smlad r10, lr, r0, r10\n"
        "smlad r11, lr, r3, r11\n"
        ".endr\n"
        "ldr r0, [sp, #8]\n"
        "cmp r2, r0\n"
        "bne 2b\n"
        "ldr r0, [sp]\n"
        "ldr r2, [sp, #52]\n"
        "sub r4, r4, r6\n"
        "sub r5, r5, r7\n"
        "sub r8, r8, r10\n"
        "sub r9, r9, r11\n"
        "ldm r2, {r2, r3, r12, lr}\n"
        "add r6, r2, r6\n"
        "add r7, r2, r7\n"
        "add r4, r3, r4, asr #8\n"
        "add r5, r3, r5, asr #8\n"
        "add r10, r12, r10\n"
        "add r11, r12, r11\n"
        "add r8, lr, r8, asr #8\n"
        "add r9, lr, r9, asr #8\n"
        "ldrd r2, r3, [sp, #52]\n"
        "ldr r12, [sp, #60]\n"
        "add r3, r0, r3, lsl #2\n"
        "add r2, r2, #16\n"
        "add r1, r1, r12\n"
        "strd r7, r5, [r3]\n"
        "strd r11, r9, [r3, #8]\n"
        "strd r6, r4, [r0], #8\n"
        "strd r10, r8, [r0], #8\n"
        "str r2, [sp, #52]\n"
        "str r0, [sp]\n"
        "ldr r12, [sp, #44]\n"
        "ldrd r2, r3, [sp, #4]\n"
        "cmp r0, r12\n"
        "bne 1b\n"
        "add sp, sp, #12\n"
        "pop {r4-r12, pc}\n");
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
