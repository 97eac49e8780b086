/* Firing with the DSP extension (Cortex-M4, M7, M33): eight int16 membranes at once, two in a word. A saturated difference has
 * the sign of the exact one, and so tells which are above their thresholds. Four that hold such a one take a detour; spikes
 * are rare. */
#ifndef SNE_FIRE_DSP_H
#define SNE_FIRE_DSP_H

#include "sne_neuron.h"

SNE_INLINE int sne_fire_dsp_can(int reset, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED;
}

SNE_INLINE uint32_t sne_leak_constant(int decay, int32_t factor)
{
    return decay == SNE_DECAY_Q15 ? 2u * (uint32_t)factor : (((uint32_t)1 << (factor & 7)) - 1u) * 0x10001u;
}

/* sne_leak m, k: one decay of a word m, k holding sne_leak_constant and r4, r5 and lr being free. */
#define SNE_LEAK_DSP                                                                                                     \
    ".macro sne_leak m, k\n"                                                                                             \
    ".if %c[leak] == 16\n" /* q15 */                                                                                     \
    "smulwb r4, \\k, \\m\n"                                                                                              \
    "smulwt r5, \\k, \\m\n"                                                                                              \
    "pkhbt \\m, r4, r5, lsl #16\n"                                                                                       \
    ".elseif %c[leak] > 4\n"                                                                                             \
    "sbfx r4, \\m, #%c[shift], #16-%c[shift]\n"                                                                          \
    "asr lr, \\m, #%c[shift]\n"                                                                                          \
    "pkhbt lr, r4, lr\n"                                                                                                 \
    "ssub16 \\m, \\m, lr\n"                                                                                              \
    ".elseif %c[leak] == 1\n" /* v - (v >> k) is (v + (v + ... (v + 2^k - 1) >> 1 ...) >> 1) >> 1 */                     \
    "shadd16 \\m, \\m, \\k\n"                                                                                            \
    ".elseif %c[leak] > 1\n"                                                                                             \
    "shadd16 r4, \\m, \\k\n"                                                                                             \
    ".rept %c[leak] - 2\n"                                                                                               \
    "shadd16 r4, \\m, r4\n"                                                                                              \
    ".endr\n"                                                                                                            \
    "shadd16 \\m, \\m, r4\n"                                                                                             \
    ".endif\n"                                                                                                           \
    ".endm\n"

/* sne_fire (sne_fire.h) for int16 membranes, where sne_fire_dsp_can.
 *
 * Reads   r0 membranes, r1 thresholds, r2 drive, [positions][stride], [stride] and [stride]; r3 where eight more
 *         thresholds don't fit; r4 the index of the neuron at r0 less r0 / 2, r5 bits, r6 the gap of indices between
 *         positions, r8 the membranes' end, r12 a constant of the decay
 * Writes  the membranes; the bits of the neurons that fired, by bytes; r0 their number, two counts in a word
 * Holds   one position at least; stride a multiple of four, not 0; all lie at words; thresholds are 1 at least; every
 *         final membrane fits
 * Uses    r4 to r7 thresholds, then which are exceeded (signs of lanes), then drives; r8 to r11 eight membranes; lr. On the
 *         stack: index, bits, spikes, constant, threshold, drive, gap, end; r7, which may be the frame pointer */
SNE_INLINE size_t sne_fire_dsp(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions, uint32_t *bits,
                                 size_t first, int decay, int32_t factor, int reset)
{
    const uintptr_t origin = first - ((uintptr_t)v >> 1);
    const uint32_t constant = sne_leak_constant(decay, factor);
    const int16_t *const last = v + positions * p->stride;
    register uintptr_t r0 __asm__("r0") = (uintptr_t)v;
    register const void *r1 __asm__("r1") = p->threshold;
    register const int16_t *r2 __asm__("r2") = drive;
    register uintptr_t r3 __asm__("r3") = (uintptr_t)p->threshold + 2u * (uintptr_t)p->stride - 15u;
    register uintptr_t r4 __asm__("r4") = origin;
    register uint32_t *r5 __asm__("r5") = bits;
    register uint32_t r6 __asm__("r6") = (uint32_t)p->channels - p->stride;
    register const int16_t *r8 __asm__("r8") = last;
    register uint32_t r12 __asm__("r12") = constant;
    __asm__ volatile(
        SNE_LEAK_DSP
        ".macro sne_reset above, m, place\n" /* m where a lane of `above` is 0x8000; its threshold is at r1 + place */
        "sub lr, \\above, \\above, lsr #15\n"
        ".if %c[zero]\n"
        "orr lr, lr, \\above\n"
        "bic \\m, \\m, lr\n"
        ".else\n"
        "ldr r12, [r1, #\\place]\n"
        "and r12, r12, lr\n"
        "sub \\m, \\m, r12\n"
        ".endif\n"
        ".endm\n"
        ".macro sne_mark a, b, ahead\n" /* counts the spikes of a and b (0x8000 in a lane), sets their bits, neurons `ahead` of r0 on */
        "ldr lr, [sp, #8]\n"
        "add lr, lr, \\a, lsr #15\n"
        "add lr, lr, \\b, lsr #15\n"
        "str lr, [sp, #8]\n"
        "orr \\b, \\b, \\a, lsr #2\n"
        "orr \\b, \\b, \\b, lsr #15\n"
        "ubfx \\b, \\b, #13, #4\n" /* in order */
        "ldrd r12, \\a, [sp]\n"
        "add r12, r12, r0, lsr #1\n"
        ".if \\ahead\n"
        "add r12, r12, #\\ahead\n"
        ".endif\n"
        "and lr, r12, #7\n"
        "lsl \\b, \\b, lr\n"
        "add \\a, \\a, r12, lsr #3\n"
        ".if %c[leak]\n"
        "ldr r12, [sp, #12]\n"
        ".endif\n"
        "ldrb lr, [\\a]\n"
        "orr \\b, \\b, lr\n"
        "strb \\b, [\\a]\n"
        "lsrs \\b, \\b, #8\n" /* what is left for the next byte: Z where nothing */
        ".endm\n"

        "push {r7}\n"
        "push {r1, r2, r6, r8}\n"
        "mov r6, #0\n"
        "mov r7, r12\n"
        "push {r4-r7}\n"
        "cmp r1, r3\n"
        "bhs 5f\n"
        "1:\n" /* eight neurons */
        "ldm r1!, {r4-r7}\n"
        "ldm r0, {r8-r11}\n"
        "qsub16 r4, r4, r8\n"
        "qsub16 r5, r5, r9\n"
        "orr lr, r4, r5\n"
        "tst lr, #0x80008000\n"
        "bne 3f\n"
        "2:\n"
        "qsub16 r6, r6, r10\n"
        "qsub16 r7, r7, r11\n"
        "orr lr, r6, r7\n"
        "tst lr, #0x80008000\n"
        "bne 4f\n"
        "9:\n"
        "sne_leak r8, r12\n"
        "sne_leak r9, r12\n"
        "sne_leak r10, r12\n"
        "sne_leak r11, r12\n"
        "ldm r2!, {r4-r7}\n"
        "sadd16 r8, r8, r4\n"
        "sadd16 r9, r9, r5\n"
        "sadd16 r10, r10, r6\n"
        "sadd16 r11, r11, r7\n"
        "stm r0!, {r8-r11}\n"
        "cmp r1, r3\n"
        "blo 1b\n"
        "5:\n" /* four more? */
        "sub lr, r1, r3\n"
        "cmp lr, #7\n"
        "bne 8f\n"
        "ldrd r4, r5, [r1], #16\n" /* as if there were eight */
        "ldrd r8, r9, [r0]\n"
        "mov r6, #0\n" /* no threshold: tells the detour where it came from */
        "qsub16 r4, r4, r8\n"
        "qsub16 r5, r5, r9\n"
        "orr lr, r4, r5\n"
        "tst lr, #0x80008000\n"
        "bne 3f\n"
        "6:\n"
        "sne_leak r8, r12\n"
        "sne_leak r9, r12\n"
        "ldrd r6, r7, [r2]\n"
        "sadd16 r8, r8, r6\n"
        "sadd16 r9, r9, r7\n"
        "strd r8, r9, [r0], #8\n"
        "b 8f\n"
        "3:\n" /* of the first four, one may have fired */
        "and r4, r4, #0x80008000\n"
        "and r5, r5, #0x80008000\n"
        "sne_reset r4, r8, -16\n"
        "sne_reset r5, r9, -12\n"
        "sne_mark r4, r5, 0\n"
        "beq 7f\n"
        "strb r5, [r4, #1]\n"
        "7:\n"
        "cmp r6, #0\n"
        "bne 2b\n"
        "b 6b\n"
        "4:\n" /* of the other four */
        "and r6, r6, #0x80008000\n"
        "and r7, r7, #0x80008000\n"
        "sne_reset r6, r10, -8\n"
        "sne_reset r7, r11, -4\n"
        "sne_mark r6, r7, 4\n"
        "beq 9b\n"
        "strb r7, [r6, #1]\n"
        "b 9b\n"
        "8:\n" /* the next position? */
        "ldrd r4, lr, [sp, #24]\n"
        "cmp r0, lr\n"
        "beq 8f\n"
        "ldr r5, [sp]\n"
        "add r5, r5, r4\n"
        "str r5, [sp]\n"
        "ldrd r1, r2, [sp, #16]\n"
        "cmp r1, r3\n"
        "blo 1b\n"
        "b 5b\n"
        "8:\n"
        "ldr r0, [sp, #8]\n"
        "add sp, sp, #32\n"
        "pop {r7}\n"

        ".purgem sne_leak\n"
        ".purgem sne_reset\n"
        ".purgem sne_mark\n"
        : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r8), "+r"(r12)
        : [leak] "i"(decay == SNE_DECAY_SHIFT ? factor : decay == SNE_DECAY_Q15 ? 16 : 0),
          [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 1), [zero] "i"(reset == SNE_RESET_ZERO)
        : "r9", "r10", "r11", "lr", "cc", "memory");
    return ((uint32_t)r0 & 0xffffu) + ((uint32_t)r0 >> 16);
}

/* All timesteps of eight neurons after eight others, from rest, under a constant drive, for one position: eight membranes stay
 * in registers from timestep to timestep, and nothing branches, for where input is a current many fire. What is left after the
 * last timestep is not kept.
 *
 * Reads   r0 drive, r1 thresholds, [channels] each; r2 the byte of spikes of the first timestep; on the stack the constant of the
 *         decay; bytes from one timestep's spikes to the next's; that byte, and that of the last timestep; the thresholds' end
 * Writes  the bytes of the position's spikes, whole, at every timestep
 * Holds   one timestep at least; channels a multiple of eight, not 0; all lie at words; thresholds are 1 at least; every final
 *         membrane fits
 * Uses    r3 the bits of the last two lanes of eight; r4 to r7 thresholds, then spikes or drives; r8 to r11 eight membranes; r12
 *         zero; lr; r7, which may be the frame pointer */
SNE_INLINE void sne_fire_steps_dsp(const sne_neurons *p, const int16_t *drive, uint32_t timesteps, uint8_t *bits,
                                   size_t step, int decay, int32_t factor, int reset)
{
    struct {
        uint32_t constant, step;
        uint8_t *first, *last;
        const int16_t *end;
    } job;
    register const int16_t *r0 __asm__("r0") = drive;
    register const void *r1 __asm__("r1") = p->threshold;
    register void *r2 __asm__("r2") = &job;
    job.constant = sne_leak_constant(decay, factor);
    job.step = (uint32_t)step;
    job.first = bits;
    job.last = bits + (timesteps - 1u) * step;
    job.end = (const int16_t *)p->threshold + p->channels;
    __asm__ volatile(
        SNE_LEAK_DSP
        ".macro sne_spike t, m\n" /* t: the bits of the lanes of m that fire; lr: what a reset takes from them */
        "ssub16 lr, \\t, \\m\n"
        ".if %c[zero] == 0\n"
        "sel lr, r12, \\t\n"
        ".endif\n"
        "sel \\t, r12, r3\n"
        ".if %c[zero]\n"
        "sel \\m, \\m, r12\n"
        ".else\n"
        "ssub16 \\m, \\m, lr\n"
        ".endif\n"
        ".endm\n"

        "push {r7}\n"
        "ldm r2, {r2, r3, r4, r5, r6}\n"
        "push {r2-r6}\n"
        "movw r3, #0x0040\n"
        "movt r3, #0x0080\n"
        "mov r12, #0\n"
        "1:\n" /* eight neurons */
        "ldrd r2, lr, [sp, #8]\n"
        "ldm r0!, {r8-r11}\n"
        "cmp r2, lr\n"
        "beq 3f\n"
        "2:\n" /* a timestep */
        "ldm r1, {r4-r7}\n"
        "sne_spike r4, r8\n"
        "sne_spike r5, r9\n"
        "orr r4, r5, r4, lsr #2\n"
        "sne_spike r6, r10\n"
        "orr r4, r6, r4, lsr #2\n"
        "sne_spike r7, r11\n"
        "orr r4, r7, r4, lsr #2\n"
        "orr r4, r4, r4, lsr #16\n" /* in order */
        "strb r4, [r2]\n"
        "ldrd r4, r5, [sp, #4]\n"
        "add r2, r2, r4\n"
        "ldr r4, [sp, #12]\n"
        "cmp r2, r4\n"
        ".if %c[constant]\n"
        "ldr r6, [sp]\n"
        ".endif\n"
        "sne_leak r8, r6\n"
        "sne_leak r9, r6\n"
        "sne_leak r10, r6\n"
        "sne_leak r11, r6\n"
        "ldmdb r0, {r4-r7}\n"
        "sadd16 r8, r8, r4\n"
        "sadd16 r9, r9, r5\n"
        "sadd16 r10, r10, r6\n"
        "sadd16 r11, r11, r7\n"
        "bne 2b\n"
        "3:\n" /* the last one */
        "ldm r1!, {r4-r7}\n"
        "ssub16 lr, r4, r8\n"
        "sel r4, r12, r3\n"
        "ssub16 lr, r5, r9\n"
        "sel r5, r12, r3\n"
        "orr r4, r5, r4, lsr #2\n"
        "ssub16 lr, r6, r10\n"
        "sel r6, r12, r3\n"
        "orr r4, r6, r4, lsr #2\n"
        "ssub16 lr, r7, r11\n"
        "sel r7, r12, r3\n"
        "orr r4, r7, r4, lsr #2\n"
        "orr r4, r4, r4, lsr #16\n"
        "ldr lr, [sp, #8]\n"
        "strb r4, [r2], #1\n"
        "add lr, lr, #1\n"
        "strd lr, r2, [sp, #8]\n"
        "ldr lr, [sp, #16]\n"
        "cmp r1, lr\n"
        "bne 1b\n"
        "add sp, sp, #20\n"
        "pop {r7}\n"

        ".purgem sne_leak\n"
        ".purgem sne_spike\n"
        : "+r"(r0), "+r"(r1), "+r"(r2)
        : [leak] "i"(decay == SNE_DECAY_SHIFT ? factor : decay == SNE_DECAY_Q15 ? 16 : 0),
          [constant] "i"(decay == SNE_DECAY_Q15 || (decay == SNE_DECAY_SHIFT && factor < 5)),
          [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 1), [zero] "i"(reset == SNE_RESET_ZERO)
        : "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

#endif
