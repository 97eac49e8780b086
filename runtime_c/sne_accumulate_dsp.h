/* Accumulation with the DSP extension (Cortex-M4, M7, M33): SXTAB16 adds two sign-extended int8 weights to two int16
 * lanes in one instruction. Thanks to the weights' order, lanes are in the membranes' order. */
#ifndef SNE_ACCUMULATE_DSP_H
#define SNE_ACCUMULATE_DSP_H

#include "sne_accumulate_portable.h"
#include "sne_dsp.h"

#define SNE_SIXTEEN_DSP                \
    "ldr r0, [r2], #4\n"               \
    "add r0, r0, r1\n"                 \
    "ldrd r12, lr, [r0]\n"             \
    "sxtab16 r4, r4, r12\n"            \
    "sxtab16 r5, r5, r12, ror #8\n"    \
    "sxtab16 r6, r6, lr\n"             \
    "sxtab16 r7, r7, lr, ror #8\n"     \
    "ldrd r12, lr, [r0, #8]\n"         \
    "sxtab16 r8, r8, r12\n"            \
    "sxtab16 r9, r9, r12, ror #8\n"    \
    "sxtab16 r10, r10, lr\n"           \
    "sxtab16 r11, r11, lr, ror #8\n"

/* Sixteen outputs stay in eight registers over the rows from `rows` to `end`, at least one. */
SNE_NAKED void sne_add_sixteen_dsp(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                   SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile("push {r0, r4-r11, lr}\n"
                     "ldm r0, {r4-r11}\n"
                     "sub r0, r3, r2\n"
                     "lsls r0, r0, #29\n" /* an odd number of rows starts in the middle */
                     "bmi 2f\n"
                     "1:\n" SNE_SIXTEEN_DSP
                     "2:\n" SNE_SIXTEEN_DSP
                     "cmp r2, r3\n"
                     "bne 1b\n"
                     "pop {r0}\n"
                     "stm r0, {r4-r11}\n"
                     "pop {r4-r11, pc}\n");
}

/* Eight or (`words` 1) four outputs. */
SNE_INLINE void sne_add_few_dsp(uint32_t *v, const sne_weight *weight, const uint32_t *rows, size_t n, int words)
{
    const uint32_t *const end = rows + n;
    uint32_t v0 = v[0], v1 = v[1], v2 = 0, v3 = 0;
    if (words == 2) {
        v2 = v[2];
        v3 = v[3];
    }
    while (rows != end) {
        const sne_weight *w = weight + *rows++;
        const uint32_t low = sne_load_word(w);
        v0 = sne_add_even(v0, low);
        v1 = sne_add_odd(v1, low);
        if (words == 2) {
            const uint32_t high = sne_load_word(w + 4);
            v2 = sne_add_even(v2, high);
            v3 = sne_add_odd(v3, high);
        }
    }
    v[0] = v0;
    v[1] = v1;
    if (words == 2) {
        v[2] = v2;
        v[3] = v3;
    }
}

SNE_INLINE void sne_add_narrow_dsp(uint32_t *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n)
{
    for (; stride >= 16; stride -= 16, v += 8, weight += 16) {
        sne_add_sixteen_dsp(v, weight, rows, rows + n);
    }
    if (stride >= 8) {
        sne_add_few_dsp(v, weight, rows, n, 2);
        stride -= 8;
        v += 4;
        weight += 8;
    }
    if (stride) {
        sne_add_few_dsp(v, weight, rows, n, 1);
    }
}

/* Wide membranes: sums of up to 255 weights fit in lanes. */
SNE_INLINE void sne_add_wide_dsp(int32_t *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n)
{
    uint32_t sums[8];
    size_t j, k;
    for (j = 0; j < stride; j += 16) {
        const size_t count = stride - j < 16 ? stride - j : 16;
        for (k = 0; k < 8; k++) {
            sums[k] = 0;
        }
        sne_add_narrow_dsp(sums, weight + j, count, rows, n);
        for (k = 0; k < count; k += 2, v += 2) {
            const uint32_t sum = sums[k / 2];
            v[0] += (int16_t)(uint16_t)sum;
            v[1] += (int32_t)sum >> 16;
        }
    }
}

SNE_INLINE void sne_add_rows_dsp(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n,
                                 int width)
{
    if (n == 0) {
        return;
    }
    if (width == 16) {
        sne_add_narrow_dsp((uint32_t *)v, weight, stride, rows, n);
    } else {
        sne_add_wide_dsp((int32_t *)v, weight, stride, rows, n);
    }
}

/* One row: eight outputs at a time. */
SNE_INLINE void sne_add_row_dsp(void *v, const sne_weight *weight, size_t stride, int width)
{
    if (width != 16) {
        sne_add_row_portable(v, weight, stride, width);
        return;
    }
    for (; stride >= 8; stride -= 8) {
        __asm__ volatile("ldmia %1!, {r2, r3}\n"
                         "ldmia %0, {r4, r5, r8, r9}\n"
                         "sxtab16 r4, r4, r2\n"
                         "sxtab16 r5, r5, r2, ror #8\n"
                         "sxtab16 r8, r8, r3\n"
                         "sxtab16 r9, r9, r3, ror #8\n"
                         "stmia %0!, {r4, r5, r8, r9}\n"
                         : "+r"(v), "+r"(weight)
                         :
                         : "r2", "r3", "r4", "r5", "r8", "r9", "memory");
    }
    if (stride) {
        uint32_t *words = (uint32_t *)v;
        const uint32_t w = sne_load_word(weight);
        words[0] = sne_add_even(words[0], w);
        words[1] = sne_add_odd(words[1], w);
    }
}

#endif
