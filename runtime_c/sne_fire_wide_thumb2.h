/* Firing of int32 membranes with Thumb-2 (Cortex-M3, M4, M7, M33): four at once, without a branch but for those of which one
 * fired. */
#ifndef SNE_FIRE_WIDE_THUMB2_H
#define SNE_FIRE_WIDE_THUMB2_H

#include "sne_neuron.h"

SNE_INLINE int sne_fire_wide_thumb2_can(int reset, int decay, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && decay != SNE_DECAY_Q15;
}

/* sne_fire (sne_fire.h) for int32 membranes, where sne_fire_wide_thumb2_can; one position at a time.
 *
 * Reads   r0 membranes, r1 thresholds, r2 drive, [stride] each; r3 the thresholds' end; r4 the index of the neuron at r0 less
 *         r0 / 4, r5 bits
 * Writes  the membranes; the bits of the neurons that fired, by bytes; r12 their number, added
 * Holds   stride a multiple of four, not 0; all lie at words; every final membrane fits
 * Uses    r4 to r7 thresholds, then bits or drives; r8 to r11 four membranes; lr which of them fire. On the stack: index, bits; r7,
 *         which may be the frame pointer */
SNE_INLINE size_t sne_fire_wide_thumb2(const sne_neurons *p, int32_t *v, const int32_t *drive, size_t positions,
                                       uint32_t *bits, size_t first, int decay, int32_t factor, int reset)
{
    register uint32_t r12 __asm__("r12") = 0;
    for (; positions; positions--, first += p->channels, v += p->stride) {
        register uintptr_t r0 __asm__("r0") = (uintptr_t)v;
        register const int32_t *r1 __asm__("r1") = (const int32_t *)p->threshold;
        register const int32_t *r2 __asm__("r2") = drive;
        register const int32_t *r3 __asm__("r3") = r1 + p->stride;
        register uintptr_t r4 __asm__("r4") = first - ((uintptr_t)v >> 2);
        register uint32_t *r5 __asm__("r5") = bits;
        __asm__ volatile(
            ".macro sne_spike m, t, bit\n"
            "cmp \\m, \\t\n"
            "itt gt\n"
            ".if %c[zero]\n"
            "movgt \\m, #0\n"
            ".else\n"
            "subgt \\m, \\m, \\t\n"
            ".endif\n"
            "orrgt lr, lr, #\\bit\n"
            ".endm\n"
            ".macro sne_drive m, d\n"
            ".if %c[shift]\n"
            "sub \\m, \\m, \\m, asr #%c[shift]\n"
            ".endif\n"
            "add \\m, \\m, \\d\n"
            ".endm\n"

            "push {r7}\n"
            "push {r4, r5}\n"
            "1:\n" /* four neurons */
            "ldm r1!, {r4-r7}\n"
            "ldm r0, {r8-r11}\n"
            "mov lr, #0\n"
            "sne_spike r8, r4, 1\n"
            "sne_spike r9, r5, 2\n"
            "sne_spike r10, r6, 4\n"
            "sne_spike r11, r7, 8\n"
            "cmp lr, #0\n"
            "bne 3f\n"
            "2:\n"
            "ldm r2!, {r4-r7}\n"
            "sne_drive r8, r4\n"
            "sne_drive r9, r5\n"
            "sne_drive r10, r6\n"
            "sne_drive r11, r7\n"
            "stm r0!, {r8-r11}\n"
            "cmp r1, r3\n"
            "bne 1b\n"
            "b 4f\n"
            "3:\n" /* one fired at least */
            "ldrd r4, r5, [sp]\n"
            "add r4, r4, r0, lsr #2\n"
            "and r6, r4, #7\n"
            "lsl r6, lr, r6\n"
            "add r5, r5, r4, lsr #3\n"
            "ldrb r4, [r5]\n"
            "orr r6, r6, r4\n"
            "strb r6, [r5]\n"
            "lsrs r6, r6, #8\n"
            "it ne\n"
            "strbne r6, [r5, #1]\n"
            "lsr r4, lr, #1\n" /* their number */
            "and r4, r4, #5\n"
            "sub r4, lr, r4\n"
            "and r5, r4, #3\n"
            "add r12, r12, r5\n"
            "add r12, r12, r4, lsr #2\n"
            "b 2b\n"
            "4:\n"
            "add sp, sp, #8\n"
            "pop {r7}\n"

            ".purgem sne_spike\n"
            ".purgem sne_drive\n"
            : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r12)
            : [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 0), [zero] "i"(reset == SNE_RESET_ZERO)
            : "r6", "r8", "r9", "r10", "r11", "lr", "cc", "memory");
    }
    return r12;
}

#endif
