/* Accumulation for cores without vector instructions (Cortex-M0, M3): two weights at a time in the halves of a word.
 *
 * A weight plus 128, as these cores store it, is an unsigned byte. Words of membranes are integers modulo 2^32, to which
 * those of weights add exactly: with the lower lane's sign turned, no lane borrows from the other, and each row's 128 is
 * taken off at once. A word of four weights holds two words of lanes, even + (odd << 8). Of those, whole words (`all`) and
 * odd bytes are summed; even = all - (odd << 8) comes at the end, an instruction less for each word. */
#ifndef SNE_ACCUMULATE_SWAR_H
#define SNE_ACCUMULATE_SWAR_H

#include "sne_accumulate_portable.h"

#define SNE_SWAR_LANES 0x00ff00ffu
#define SNE_SWAR_SIGN 0x8000u
#define SNE_SWAR_BIAS 0x00800080u

#if __ARM_ARCH_ISA_THUMB > 1
/* From a group's two words of membranes to its sums, and back. r3: the rows' 128s. */
#define SNE_OPEN_SWAR(all, odd)              \
    "eor " all ", " all ", #0x8000\n"        \
    "eor " odd ", " odd ", #0x8000\n"        \
    "sub " all ", " all ", r3\n"             \
    "sub " odd ", " odd ", r3\n"             \
    "add " all ", " all ", " odd ", lsl #8\n"
#define SNE_CLOSE_SWAR(all, odd)             \
    "sub " all ", " all ", " odd ", lsl #8\n" \
    "eor " odd ", " odd ", #0x8000\n"        \
    "eor " all ", " all ", #0x8000\n"

/* One row's sixteen weights at r1 + *r2 to the sums in r4 to r11. */
#define SNE_ROW_SWAR                 \
    "ldr r0, [r2], #4\n"             \
    "add r0, r0, r1\n"               \
    "ldrd r12, r3, [r0]\n"           \
    "add r4, r4, r12\n"              \
    "and r12, lr, r12, lsr #8\n"     \
    "add r5, r5, r12\n"              \
    "add r6, r6, r3\n"               \
    "and r3, lr, r3, lsr #8\n"       \
    "add r7, r7, r3\n"               \
    "ldrd r12, r3, [r0, #8]\n"       \
    "add r8, r8, r12\n"              \
    "and r12, lr, r12, lsr #8\n"     \
    "add r9, r9, r12\n"              \
    "add r10, r10, r3\n"             \
    "and r3, lr, r3, lsr #8\n"       \
    "add r11, r11, r3\n"

/* Sixteen outputs at a time stay in eight registers over all rows, at least one; `stride` is a multiple of sixteen. */
SNE_NAKED void sne_add_sixteens_swar(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                     SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                     SNE_REGISTER size_t stride)
{
    __asm__ volatile("ldr r12, [sp]\n"
                     "add r12, r12, r1\n"
                     "push {r0, r2-r12, lr}\n" /* v, rows, end, saved registers, the weights' end */
                     "sub r3, r3, r2\n"
                     "mov lr, #0x00200020\n"
                     "mul r3, r3, lr\n"
                     "mov lr, #0x00ff00ff\n"
                     "push {r3}\n"
                     "1:\n"
                     "ldm r0, {r4-r11}\n"
                     SNE_OPEN_SWAR("r4", "r5")
                     SNE_OPEN_SWAR("r6", "r7")
                     SNE_OPEN_SWAR("r8", "r9")
                     SNE_OPEN_SWAR("r10", "r11")
                     "lsls r3, r3, #24\n" /* an odd number of rows starts in the middle */
                     "bmi 3f\n"
                     "2:\n" SNE_ROW_SWAR
                     "3:\n" SNE_ROW_SWAR
                     "ldr r3, [sp, #12]\n"
                     "cmp r2, r3\n"
                     "bne 2b\n"
                     SNE_CLOSE_SWAR("r4", "r5")
                     SNE_CLOSE_SWAR("r6", "r7")
                     SNE_CLOSE_SWAR("r8", "r9")
                     SNE_CLOSE_SWAR("r10", "r11")
                     "ldr r3, [sp]\n"
                     "ldr r0, [sp, #4]\n"
                     "ldr r2, [sp, #8]\n"
                     "ldr r12, [sp, #48]\n"
                     "stm r0!, {r4-r11}\n"
                     "str r0, [sp, #4]\n"
                     "adds r1, r1, #16\n"
                     "cmp r1, r12\n"
                     "bne 1b\n"
                     "add sp, sp, #16\n"
                     "pop {r4-r12, pc}\n");
}
#else
/* From a group's two words of membranes at r1 to its sums, and back to r0. r4: the sign to turn, r6: the rows' 128s. */
#define SNE_OPEN_SWAR(all, odd) \
    "ldmia r1!, {r2, r3}\n"     \
    "eors r2, r4\n"             \
    "eors r3, r4\n"             \
    "subs r2, r2, r6\n"         \
    "subs r3, r3, r6\n"         \
    "lsls r0, r3, #8\n"         \
    "adds r2, r2, r0\n"         \
    "mov " all ", r2\n"         \
    "mov " odd ", r3\n"
#define SNE_CLOSE_SWAR(all, odd) \
    "mov r2, " all "\n"          \
    "mov r3, " odd "\n"          \
    "lsls r1, r3, #8\n"          \
    "subs r2, r2, r1\n"          \
    "eors r2, r4\n"              \
    "eors r3, r4\n"              \
    "stmia r0!, {r2, r3}\n"

/* One row's sixteen weights at r8 + *r0 to the sums. r4: the mask of lanes. */
#define SNE_ROW_SWAR        \
    "ldmia r0!, {r1}\n"     \
    "add r1, r8\n"          \
    "ldmia r1!, {r2, r3}\n" \
    "adds r5, r5, r2\n"     \
    "lsrs r2, r2, #8\n"     \
    "ands r2, r4\n"         \
    "add r9, r2\n"          \
    "adds r7, r7, r3\n"     \
    "lsrs r3, r3, #8\n"     \
    "ands r3, r4\n"         \
    "add r10, r3\n"         \
    "ldmia r1!, {r2, r3}\n" \
    "add r12, r2\n"         \
    "lsrs r2, r2, #8\n"     \
    "ands r2, r4\n"         \
    "add r11, r2\n"         \
    "adds r6, r6, r3\n"     \
    "lsrs r3, r3, #8\n"     \
    "ands r3, r4\n"         \
    "add lr, r3\n"

/* Sixteen outputs at a time stay in eight registers over all rows, at least one; `stride` is a multiple of sixteen. */
SNE_NAKED void sne_add_sixteens_swar(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                     SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                     SNE_REGISTER size_t stride, SNE_REGISTER uint32_t sign)
{
    __asm__ volatile(".syntax unified\n"
                     "push {r4-r7, lr}\n"
                     "mov r4, r8\n"
                     "mov r5, r9\n"
                     "mov r6, r10\n"
                     "mov r7, r11\n"
                     "push {r0-r7}\n" /* v, weight, rows, end, saved registers */
                     "1:\n"
                     "ldr r1, [sp]\n"
                     "ldr r6, [sp, #12]\n"
                     "ldr r0, [sp, #8]\n"
                     "subs r6, r6, r0\n"
                     "lsls r6, r6, #5\n"
                     "lsls r0, r6, #16\n"
                     "adds r6, r6, r0\n"
                     "ldr r4, [sp, #56]\n"
                     SNE_OPEN_SWAR("r5", "r9")
                     SNE_OPEN_SWAR("r7", "r10")
                     SNE_OPEN_SWAR("r12", "r11")
                     SNE_OPEN_SWAR("r6", "lr")
                     "movs r4, #255\n"
                     "lsls r0, r4, #16\n"
                     "orrs r4, r0\n"
                     "ldr r1, [sp, #4]\n"
                     "mov r8, r1\n"
                     "ldr r0, [sp, #8]\n"
                     "ldr r1, [sp, #12]\n"
                     "subs r1, r1, r0\n"
                     "lsls r1, r1, #29\n" /* an odd number of rows starts in the middle */
                     "bmi 3f\n"
                     "2:\n" SNE_ROW_SWAR
                     "3:\n" SNE_ROW_SWAR
                     "ldr r1, [sp, #12]\n"
                     "cmp r0, r1\n"
                     "bne 2b\n"
                     "ldr r0, [sp]\n"
                     "ldr r4, [sp, #56]\n"
                     SNE_CLOSE_SWAR("r5", "r9")
                     SNE_CLOSE_SWAR("r7", "r10")
                     SNE_CLOSE_SWAR("r12", "r11")
                     SNE_CLOSE_SWAR("r6", "lr")
                     "str r0, [sp]\n"
                     "ldr r0, [sp, #4]\n"
                     "adds r0, #16\n"
                     "str r0, [sp, #4]\n"
                     "ldr r0, [sp, #52]\n"
                     "subs r0, #16\n"
                     "str r0, [sp, #52]\n"
                     "beq 4f\n"
                     "b 1b\n"
                     "4:\n"
                     "add sp, #16\n"
                     "pop {r4-r7}\n"
                     "mov r8, r4\n"
                     "mov r9, r5\n"
                     "mov r10, r6\n"
                     "mov r11, r7\n"
                     "pop {r4-r7, pc}\n");
}
#endif

/* Eight or (`words` 1) four outputs. `sign`: what turns the lower lane's, 0 where it is turned. */
SNE_INLINE void sne_add_few_swar(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 int words, uint32_t sign)
{
    const uint32_t bias = (uint32_t)(end - rows) * SNE_SWAR_BIAS;
    uint32_t odd0 = (v[1] ^ sign) - bias, all0 = (v[0] ^ sign) - bias + (odd0 << 8);
    uint32_t odd1 = 0, all1 = 0;
    if (words == 2) {
        odd1 = (v[3] ^ sign) - bias;
        all1 = (v[2] ^ sign) - bias + (odd1 << 8);
    }
    while (rows != end) {
        const uint32_t *w = (const uint32_t *)(const void *)(weight + *rows++);
        all0 += w[0];
        odd0 += (w[0] >> 8) & SNE_SWAR_LANES;
        if (words == 2) {
            all1 += w[1];
            odd1 += (w[1] >> 8) & SNE_SWAR_LANES;
        }
    }
    v[0] = (all0 - (odd0 << 8)) ^ sign;
    v[1] = odd0 ^ sign;
    if (words == 2) {
        v[2] = (all1 - (odd1 << 8)) ^ sign;
        v[3] = odd1 ^ sign;
    }
}

/* Fewer than sixteen outputs. */
SNE_OUTLINE void sne_add_tail_swar(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                   size_t stride, uint32_t sign)
{
    if (stride >= 8) {
        sne_add_few_swar(v, weight, rows, end, 2, sign);
        v += 4;
        weight += 8;
    }
    if (stride & 7u) {
        sne_add_few_swar(v, weight, rows, end, 1, sign);
    }
}

SNE_INLINE void sne_add_rows_swar(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                  size_t stride, int turned)
{
    const size_t tail = stride & 15u, whole = stride - tail;
    const uint32_t sign = turned ? 0u : SNE_SWAR_SIGN;
    if (tail) {
        sne_add_tail_swar(v + whole / 2, weight + whole, rows, end, tail, sign);
    }
    if (whole) {
#if __ARM_ARCH_ISA_THUMB > 1
        sne_add_sixteens_swar(v, weight, rows, end, whole); /* only the M0's are turned */
#else
        sne_add_sixteens_swar(v, weight, rows, end, whole, sign);
#endif
    }
}

#if __ARM_ARCH_ISA_THUMB > 1
/* Four weights, in `w`, to two words of membranes with turned signs: these need neither `all` nor a lane for itself. */
#define SNE_TURNED_FOUR(w, even, odd)           \
    "and lr, " #w ", #0x00ff00ff\n"             \
    "add " #even ", " #even ", lr\n"            \
    "and lr, " #w ", #0xff00ff00\n"             \
    "sub " #even ", " #even ", #0x00800080\n"   \
    "add " #odd ", " #odd ", lr, lsr #8\n"      \
    "sub " #odd ", " #odd ", #0x00800080\n"

/* A chain for membranes with turned signs; `stride` is a multiple of sixteen. */
SNE_NAKED void sne_turned_sixteens_swar(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                        SNE_REGISTER size_t n, SNE_REGISTER const sne_chain *chain)
{
    __asm__ volatile("push {r4-r11, lr}\n"
                     "ldrd r4, r5, [r3]\n"
                     "push {r2, r4, r5}\n"
                     "1:\n"
                     "ldr r2, [sp, #4]\n"
                     "2:\n"
                     "ldm r0, {r4-r11}\n"
                     "ldrd r3, r12, [r1], #8\n"
                     SNE_TURNED_FOUR(r3, r4, r5)
                     SNE_TURNED_FOUR(r12, r6, r7)
                     "ldrd r3, r12, [r1], #8\n"
                     SNE_TURNED_FOUR(r3, r8, r9)
                     SNE_TURNED_FOUR(r12, r10, r11)
                     "stm r0!, {r4-r11}\n"
                     "subs r2, r2, #16\n"
                     "bne 2b\n"
                     "ldr r2, [sp]\n"
                     "ldr r3, [sp, #8]\n"
                     "sub r1, r1, r3\n"
                     "subs r2, r2, #1\n"
                     "str r2, [sp]\n"
                     "bne 1b\n"
                     "add sp, sp, #12\n"
                     "pop {r4-r11, pc}\n");
}
#endif

/* Any chain: four outputs at a time. */
SNE_OUTLINE void sne_chain_fours_swar(uint32_t *v, const sne_weight *weight, size_t n, const sne_chain *chain,
                                      uint32_t sign)
{
    for (; n; n--, weight -= chain->next) {
        const sne_weight *const end = weight + chain->stride;
        for (; weight != end; weight += 4, v += 2) {
            const uint32_t w = *(const uint32_t *)(const void *)weight;
            v[0] = ((v[0] ^ sign) + (w & SNE_SWAR_LANES) - SNE_SWAR_BIAS) ^ sign;
            v[1] = ((v[1] ^ sign) + ((w >> 8) & SNE_SWAR_LANES) - SNE_SWAR_BIAS) ^ sign;
        }
    }
}

SNE_INLINE void sne_add_chain_swar(uint32_t *v, const sne_weight *weight, size_t n, const sne_chain *chain, int turned)
{
#if __ARM_ARCH_ISA_THUMB > 1
    if (turned && (chain->stride & 15u) == 0) {
        sne_turned_sixteens_swar(v, weight, n, chain);
        return;
    }
#endif
    sne_chain_fours_swar(v, weight, n, chain, turned ? 0u : SNE_SWAR_SIGN);
}

#endif
