/* Accumulation with the DSP extension (Cortex-M4, M7, M33): SXTAB16 adds two sign-extended int8 weights to two int16
 * lanes in one instruction. Thanks to the weights' order, lanes are in the membranes' order. */
#ifndef SNE_ACCUMULATE_DSP_H
#define SNE_ACCUMULATE_DSP_H

#include "sne_accumulate_portable.h"
#include "sne_dsp.h"

/* v[j] += weight[*row + j] over all rows and j < stride, sixteen outputs at a time, which stay in registers.
 *
 * Reads   r0 v, r1 weight, r2 rows, r3 end, on the stack stride; the membranes, the rows' offsets and their weights
 * Writes  the membranes
 * Holds   one row at least; stride a multiple of sixteen, not 0; v, weight and offsets at words; every final membrane fits
 * Uses    r4 to r11 sixteen sums; r0, r3, r12, lr sixteen weights. On the stack: v, rows, end, r4 to r11, the weights' end,
 *         return address */
SNE_NAKED void sne_add_sixteens_dsp(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                    SNE_REGISTER size_t stride)
{
    __asm__ volatile(
        "ldr r12, [sp]\n"
        "add r12, r12, r1\n"
        "push {r0, r2-r12, lr}\n"
        "1:\n" /* sixteen outputs */
        "ldm r0, {r4-r11}\n"
        "sub r3, r3, r2\n"
        "ubfx r3, r3, #2, #2\n" /* the first of the rows beyond fours starts in the middle */
        "tbb [pc, r3]\n"
        "6:\n"
        ".byte (2f - 6b) / 2, (5f - 6b) / 2, (4f - 6b) / 2, (3f - 6b) / 2\n"
        ".irp row, 2, 3, 4, 5\n"
        "\\row:\n"
        "ldr r0, [r2], #4\n"
        "add r0, r0, r1\n"
        "ldm r0, {r0, r3, r12, lr}\n"
        "sxtab16 r4, r4, r0\n"
        "sxtab16 r5, r5, r0, ror #8\n"
        "sxtab16 r6, r6, r3\n"
        "sxtab16 r7, r7, r3, ror #8\n"
        "sxtab16 r8, r8, r12\n"
        "sxtab16 r9, r9, r12, ror #8\n"
        "sxtab16 r10, r10, lr\n"
        "sxtab16 r11, r11, lr, ror #8\n"
        ".endr\n"
        "ldr r3, [sp, #8]\n"
        "cmp r2, r3\n"
        "bne 2b\n"
        "ldr r0, [sp]\n"
        "ldr r2, [sp, #4]\n"
        "ldr r12, [sp, #44]\n"
        "stm r0!, {r4-r11}\n"
        "str r0, [sp]\n"
        "adds r1, r1, #16\n"
        "cmp r1, r12\n"
        "bne 1b\n"
        "add sp, sp, #12\n"
        "pop {r4-r12, pc}\n");
}

/* Eight outputs.
 *
 * Reads, writes, holds  as above, but for the stride
 * Uses    r4 to r7 eight sums; r12, lr eight weights. On the stack: r4 to r7, return address */
SNE_NAKED void sne_add_eight_dsp(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                 SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile(
        "push {r4-r7, lr}\n"
        "ldm r0, {r4-r7}\n"
        "sub r12, r3, r2\n"
        "lsls r12, r12, #29\n" /* an odd number of rows starts in the middle */
        "bmi 2f\n"
        ".irp row, 1, 2\n"
        "\\row:\n"
        "ldr r12, [r2], #4\n"
        "add r12, r12, r1\n"
        "ldrd r12, lr, [r12]\n"
        "sxtab16 r4, r4, r12\n"
        "sxtab16 r5, r5, r12, ror #8\n"
        "sxtab16 r6, r6, lr\n"
        "sxtab16 r7, r7, lr, ror #8\n"
        ".endr\n"
        "cmp r2, r3\n"
        "bne 1b\n"
        "stm r0, {r4-r7}\n"
        "pop {r4-r7, pc}\n");
}

/* Four outputs. */
SNE_INLINE void sne_add_four_dsp(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end)
{
    uint32_t v0 = v[0], v1 = v[1];
    while (rows != end) {
        const uint32_t w = sne_load_word(weight + *rows++);
        v0 = sne_add_even(v0, w);
        v1 = sne_add_odd(v1, w);
    }
    v[0] = v0;
    v[1] = v1;
}

/* Fewer than sixteen outputs. */
SNE_OUTLINE void sne_add_tail_dsp(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                  size_t stride)
{
    if (stride >= 8) {
        sne_add_eight_dsp(v, weight, rows, end);
        v += 4;
        weight += 8;
    }
    if (stride & 7u) {
        sne_add_four_dsp(v, weight, rows, end);
    }
}

SNE_INLINE void sne_add_rows_dsp(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 size_t stride, int turned)
{
    (void)turned; /* only the M0's are */
    const size_t tail = stride & 15u, whole = stride - tail;
    if (tail) {
        sne_add_tail_dsp(v + whole / 2, weight + whole, rows, end, tail);
    }
    if (whole) {
        sne_add_sixteens_dsp(v, weight, rows, end, whole);
    }
}

/* A chain (sne_accumulate.h) whose stride is thirty-two.
 *
 * Reads   r0 v, r1 the first row's weights, r2 positions, r3 the chain; membranes and weights
 * Writes  the membranes
 * Holds   one position at least; v and weights at words; every final membrane fits
 * Uses    r4 to r11 sixteen membranes; r12, lr eight weights; r3 the chain's `next` */
SNE_NAKED void sne_chain_32_dsp(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight, SNE_REGISTER size_t n,
                                SNE_REGISTER const sne_chain *chain)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "ldr r3, [r3, #4]\n"
        "1:\n" /* a position */
        ".rept 2\n"
        "ldm r0, {r4-r11}\n"
        "ldrd r12, lr, [r1], #8\n"
        "sxtab16 r4, r4, r12\n"
        "sxtab16 r5, r5, r12, ror #8\n"
        "sxtab16 r6, r6, lr\n"
        "sxtab16 r7, r7, lr, ror #8\n"
        "ldrd r12, lr, [r1], #8\n"
        "sxtab16 r8, r8, r12\n"
        "sxtab16 r9, r9, r12, ror #8\n"
        "sxtab16 r10, r10, lr\n"
        "sxtab16 r11, r11, lr, ror #8\n"
        "stm r0!, {r4-r11}\n"
        ".endr\n"
        "sub r1, r1, r3\n"
        "subs r2, r2, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* A chain whose stride is a multiple of sixteen, not 0.
 *
 * Reads, writes, holds  as above
 * Uses    r4 to r11 sixteen membranes; r12, lr eight weights; r3 sixteens left. On the stack: sixteens of a position, `next` */
SNE_NAKED void sne_chain_sixteens_dsp(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                      SNE_REGISTER size_t n, SNE_REGISTER const sne_chain *chain)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n"
        "ldrd r12, lr, [r3]\n"
        "lsr r3, r12, #4\n"
        "push {r3, lr}\n"
        "1:\n" /* sixteen outputs */
        "ldm r0, {r4-r11}\n"
        "ldrd r12, lr, [r1], #8\n"
        "sxtab16 r4, r4, r12\n"
        "sxtab16 r5, r5, r12, ror #8\n"
        "sxtab16 r6, r6, lr\n"
        "sxtab16 r7, r7, lr, ror #8\n"
        "ldrd r12, lr, [r1], #8\n"
        "sxtab16 r8, r8, r12\n"
        "sxtab16 r9, r9, r12, ror #8\n"
        "sxtab16 r10, r10, lr\n"
        "sxtab16 r11, r11, lr, ror #8\n"
        "stm r0!, {r4-r11}\n"
        "subs r3, r3, #1\n"
        "bne 1b\n"
        "ldrd r3, r12, [sp]\n" /* the next position */
        "sub r1, r1, r12\n"
        "subs r2, r2, #1\n"
        "bne 1b\n"
        "add sp, sp, #8\n"
        "pop {r4-r11, pc}\n");
}

/* Any chain: four outputs at a time. */
SNE_OUTLINE void sne_chain_fours_dsp(void *membranes, const sne_weight *weight, size_t n, const sne_chain *chain)
{
    sne_word *v = (sne_word *)membranes;
    for (; n; n--, weight -= chain->next) {
        const sne_weight *const end = weight + chain->stride;
        for (; weight != end; weight += 4, v += 2) {
            const uint32_t w = sne_load_word(weight);
            v[0] = sne_add_even(v[0], w);
            v[1] = sne_add_odd(v[1], w);
        }
    }
}

SNE_INLINE void sne_add_chain_dsp(uint32_t *v, const sne_weight *weight, size_t n, const sne_chain *chain, int turned)
{
    (void)turned; /* only the M3's are */
    if (chain->stride == 32) {
        sne_chain_32_dsp(v, weight, n, chain);
    } else if (chain->stride & 15u) {
        sne_chain_fours_dsp(v, weight, n, chain);
    } else {
        sne_chain_sixteens_dsp(v, weight, n, chain);
    }
}

#endif
