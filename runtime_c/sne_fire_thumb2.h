/* Firing on cores with Thumb-2 alone (Cortex-M3): eight int16 membranes at once, two in a word. Four that hold one above its
 * threshold take a detour; spikes are rare.
 *
 * It also takes membranes whose signs are turned, u = v + 2^15 in each lane: both lanes of a word leak, add and compare at
 * once, and whole words add exactly as long as every final lane is within 0 .. 65535, as the proven bounds say. The drive
 * then comes prepared. Comparing tells `m >= threshold` instead of above: the detour looks again. */
#ifndef SNE_FIRE_THUMB2_H
#define SNE_FIRE_THUMB2_H

#include "sne_neuron.h"

SNE_INLINE int sne_fire_thumb2_can(int reset, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED;
}

SNE_INLINE int sne_fire_thumb2_turns(int decay, int32_t factor)
{
    return decay == SNE_DECAY_NONE || (decay == SNE_DECAY_SHIFT && factor < 8);
}

SNE_INLINE uint32_t sne_leak_constant(int decay, int32_t factor, int turned)
{
    if (turned) { /* the bits that a shift leaves to its lane */
        return (0xffffu >> (factor & 7)) * 0x10001u;
    }
    return decay == SNE_DECAY_Q15 ? (uint32_t)factor : 0u;
}

/* sne_fire (sne_fire.h) for int16 membranes, where sne_fire_thumb2_can.
 * `turned`, a constant: membranes and drive have turned signs.
 *
 * Reads   r0 membranes, r1 thresholds, r2 drive, [positions][stride], [stride] and [stride]; r3 where eight more
 *         thresholds don't fit; r4 the index of the neuron at r0 less r0 / 2, r5 bits, r6 the gap of indices between
 *         positions, r8 the membranes' end, r12 a constant of the decay
 * Writes  the membranes; the bits of the neurons that fired, by bytes; r0 their number, two counts in a word
 * Holds   one position at least; stride a multiple of four, not 0; all lie at words; thresholds are 1 at least; every
 *         final membrane fits
 * Uses    r4 to r7 thresholds, then which are exceeded (signs of lanes), then drives; r8 to r11 eight membranes; lr. On the
 *         stack: index, bits, spikes, constant, threshold, drive, gap, end; r7, which may be the frame pointer */
SNE_INLINE size_t sne_fire_thumb2(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions, uint32_t *bits,
                                 size_t first, int decay, int32_t factor, int reset, int turned)
{
    const uintptr_t origin = first - ((uintptr_t)v >> 1);
    const uint32_t constant = sne_leak_constant(decay, factor, turned);
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
        ".macro sne_above t, m\n" /* the sign of t's lanes: m >= 0 and m > t; turned, sometimes also where m = t */
        ".if %c[turned]\n"
        "sub \\t, \\m, \\t\n" /* a lane may borrow from the next */
        "and \\t, \\t, \\m\n"
        ".else\n"
        "orr lr, \\m, #0x80008000\n"
        "sub \\t, lr, \\t\n"
        "sub \\t, \\t, #0x00010001\n"
        "bic \\t, \\t, \\m\n"
        ".endif\n"
        ".endm\n"
        ".macro sne_again t, m\n" /* the same exactly for turned m, its threshold in t */
        "orr lr, \\m, #0x80008000\n"
        "sub \\t, lr, \\t\n"
        "sub \\t, \\t, #0x00010001\n"
        "and \\t, \\t, \\m\n"
        ".endm\n"
        ".macro sne_drive m, d\n" /* leak and charge: lanes one by one are as cheap as both in a word */
        ".if %c[turned]\n"
        ".if %c[leak]\n"
        "and lr, r12, \\m, lsr #%c[shift]\n"
        "sub \\m, \\m, lr\n"
        ".endif\n"
        "add \\m, \\m, \\d\n"
        ".elseif %c[leak] == 0\n"
        "add lr, \\m, \\d\n"
        "bfc \\m, #0, #16\n"
        "add \\m, \\m, \\d\n"
        ".else\n"
        "sxth lr, \\m\n"
        "asr \\m, \\m, #16\n"
        ".if %c[leak] == 16\n" /* q15 */
        "mul lr, lr, r12\n"
        "mul \\m, \\m, r12\n"
        "add lr, \\d, lr, asr #15\n"
        "asr \\m, \\m, #15\n"
        ".else\n"
        "sub lr, lr, lr, asr #%c[shift]\n"
        "sub \\m, \\m, \\m, asr #%c[shift]\n"
        "add lr, lr, \\d\n"
        ".endif\n"
        "add \\m, \\d, \\m, lsl #16\n"
        ".endif\n"
        ".if %c[turned] == 0\n"
        "bfi \\m, lr, #0, #16\n"
        ".endif\n"
        ".endm\n"
        ".macro sne_reset above, m, place\n" /* m where a lane of `above` is 0x8000; its threshold is at r1 + place */
        "sub lr, \\above, \\above, lsr #15\n"
        ".if %c[zero]\n"
        "orr lr, lr, \\above\n"
        "bic \\m, \\m, lr\n"
        ".if %c[turned]\n"
        "orr \\m, \\m, \\above\n"
        ".endif\n"
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
        "sne_above r4, r8\n"
        "sne_above r5, r9\n"
        "orr lr, r4, r5\n"
        "tst lr, #0x80008000\n"
        "bne 3f\n"
        "2:\n"
        "sne_above r6, r10\n"
        "sne_above r7, r11\n"
        "orr lr, r6, r7\n"
        "tst lr, #0x80008000\n"
        "bne 4f\n"
        "9:\n"
        "ldm r2!, {r4-r7}\n"
        "sne_drive r8, r4\n"
        "sne_drive r9, r5\n"
        "sne_drive r10, r6\n"
        "sne_drive r11, r7\n"
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
        "sne_above r4, r8\n"
        "sne_above r5, r9\n"
        "orr lr, r4, r5\n"
        "tst lr, #0x80008000\n"
        "bne 3f\n"
        "6:\n"
        "ldrd r6, r7, [r2]\n"
        "sne_drive r8, r6\n"
        "sne_drive r9, r7\n"
        "strd r8, r9, [r0], #8\n"
        "b 8f\n"
        "3:\n" /* of the first four, one may have fired */
        ".if %c[turned]\n"
        "ldrd r4, r5, [r1, #-16]\n"
        "sne_again r4, r8\n"
        "sne_again r5, r9\n"
        ".endif\n"
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
        ".if %c[turned]\n"
        "ldrd r6, r7, [r1, #-8]\n"
        "sne_again r6, r10\n"
        "sne_again r7, r11\n"
        ".endif\n"
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

        ".purgem sne_above\n"
        ".purgem sne_again\n"
        ".purgem sne_drive\n"
        ".purgem sne_reset\n"
        ".purgem sne_mark\n"
        : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r8), "+r"(r12)
        : [leak] "i"(decay == SNE_DECAY_SHIFT ? factor : decay == SNE_DECAY_Q15 ? 16 : 0),
          [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 1), [zero] "i"(reset == SNE_RESET_ZERO),
          [turned] "i"(turned)
        : "r9", "r10", "r11", "lr", "cc", "memory");
    return ((uint32_t)r0 & 0xffffu) + ((uint32_t)r0 >> 16);
}

#endif
