/* Firing at a last timestep with Thumb-2 (Cortex-M3, M4, M7, M33): eight int16 membranes at once, two in a word, are compared and
 * no more, for nobody needs what is left in them. */
#ifndef SNE_FIRE_LAST_THUMB2_H
#define SNE_FIRE_LAST_THUMB2_H

#include "sne_neuron.h"

/* With the DSP extension, a saturated difference has the sign of the exact one. */
#if defined(SNE_DSP)
enum { SNE_SATURATES = 1 };
#else
enum { SNE_SATURATES = 0 };
#endif

/* The bits and the number of the neurons that fire at a last timestep; the membranes stay as they are. `turned`, a
 * constant: they have turned signs.
 *
 * Reads   r0 membranes, r1 thresholds, [positions][stride] and [stride]; r2 the index of the neuron at r0 less r0 / 2 and less
 *         eight; r3 where eight more thresholds don't fit; on the stack bits, thresholds, the gap of indices between positions,
 *         the membranes' end
 * Writes  the bits of the neurons that fired, by bytes; r0 their number, two counts in a word
 * Holds   one position at least; stride a multiple of four, not 0; all lie at words; thresholds are 1 at least
 * Uses    r4 to r7 thresholds, then which are exceeded (signs of lanes); r8 to r11 eight membranes; r12 spikes; lr; r7, which may
 *         be the frame pointer */
SNE_INLINE size_t sne_fire_last_thumb2(const sne_neurons *p, const int16_t *v, size_t positions, uint32_t *bits,
                                       size_t first, int turned)
{
    struct {
        uint32_t *bits;
        const void *threshold;
        uint32_t gap;
        const int16_t *end;
    } job;
    register uintptr_t r0 __asm__("r0") = (uintptr_t)v;
    register const void *r1 __asm__("r1") = p->threshold;
    register uintptr_t r2 __asm__("r2") = first - ((uintptr_t)v >> 1) - 8u;
    register uintptr_t r3 __asm__("r3") = (uintptr_t)p->threshold + 2u * (uintptr_t)p->stride - 15u;
    register void *r4 __asm__("r4") = &job;
    job.bits = bits;
    job.threshold = p->threshold;
    job.gap = (uint32_t)p->channels - p->stride;
    job.end = v + positions * p->stride;
    __asm__ volatile(
        ".macro sne_above t, m\n" /* the sign of t's lanes: m > t, t being positive */
        ".if %c[saturates]\n"
        "qsub16 \\t, \\t, \\m\n"
        ".else\n"
        "orr lr, \\m, #0x80008000\n"
        "sub \\t, lr, \\t\n"
        "sub \\t, \\t, #0x00010001\n"
        ".if %c[turned]\n"
        "and \\t, \\t, \\m\n"
        ".else\n"
        "bic \\t, \\t, \\m\n"
        ".endif\n"
        ".endif\n"
        ".endm\n"
        ".macro sne_mark m\n" /* sets the bits m of the neurons from the index in lr on */
        "ldr r4, [sp]\n"
        "add r4, r4, lr, lsr #3\n"
        "and lr, lr, #7\n"
        "lsl \\m, \\m, lr\n"
        "ldrb lr, [r4]\n"
        "orr \\m, \\m, lr\n"
        "strb \\m, [r4]\n"
        "lsrs \\m, \\m, #8\n"
        "beq 9f\n"
        "strb \\m, [r4, #1]\n"
        "9:\n"
        ".endm\n"

        "push {r7}\n"
        "ldm r4, {r4-r7}\n"
        "push {r4-r7}\n"
        "mov r12, #0\n"
        "cmp r1, r3\n"
        "bhs 4f\n"
        "1:\n" /* eight neurons */
        "ldm r1!, {r4-r7}\n"
        "ldm r0!, {r8-r11}\n"
        "sne_above r4, r8\n"
        "sne_above r5, r9\n"
        "sne_above r6, r10\n"
        "sne_above r7, r11\n"
        "orr lr, r4, r5\n"
        "orr lr, lr, r6\n"
        "orr lr, lr, r7\n"
        "tst lr, #0x80008000\n"
        "bne 3f\n"
        "2:\n"
        "cmp r1, r3\n"
        "blo 1b\n"
        "4:\n" /* four more? */
        "sub lr, r1, r3\n"
        "cmp lr, #7\n"
        "bne 6f\n"
        "ldrd r6, r7, [r1]\n"
        "ldrd r8, r9, [r0], #8\n"
        "sne_above r6, r8\n"
        "sne_above r7, r9\n"
        "orr lr, r6, r7\n"
        "tst lr, #0x80008000\n"
        "beq 6f\n"
        "and r6, r6, #0x80008000\n"
        "and r7, r7, #0x80008000\n"
        "add r12, r12, r6, lsr #15\n"
        "add r12, r12, r7, lsr #15\n"
        "orr r7, r7, r6, lsr #2\n"
        "orr r7, r7, r7, lsr #15\n"
        "ubfx r7, r7, #13, #4\n"
        "add lr, r2, #4\n"
        "add lr, lr, r0, lsr #1\n"
        "sne_mark r7\n"
        "6:\n" /* the next position? */
        "ldrd r1, r4, [sp, #4]\n"
        "ldr lr, [sp, #12]\n"
        "add r2, r2, r4\n"
        "cmp r0, lr\n"
        "beq 8f\n"
        "cmp r1, r3\n"
        "blo 1b\n"
        "b 4b\n"
        "3:\n" /* of eight, one fired at least */
        "and r4, r4, #0x80008000\n"
        "and r5, r5, #0x80008000\n"
        "and r6, r6, #0x80008000\n"
        "and r7, r7, #0x80008000\n"
        "add r12, r12, r4, lsr #15\n"
        "add r12, r12, r5, lsr #15\n"
        "add r12, r12, r6, lsr #15\n"
        "add r12, r12, r7, lsr #15\n"
        "orr r5, r5, r4, lsr #2\n"
        "orr r6, r6, r5, lsr #2\n"
        "orr r7, r7, r6, lsr #2\n"
        "orr r7, r7, r7, lsr #15\n"
        "ubfx r7, r7, #9, #8\n" /* in order */
        "add lr, r2, r0, lsr #1\n"
        "sne_mark r7\n"
        "b 2b\n"
        "8:\n"
        "mov r0, r12\n"
        "add sp, sp, #16\n"
        "pop {r7}\n"

        ".purgem sne_above\n"
        ".purgem sne_mark\n"
        : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4)
        : [saturates] "i"(SNE_SATURATES), [turned] "i"(turned)
        : "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    return ((uint32_t)r0 & 0xffffu) + ((uint32_t)r0 >> 16);
}

#endif
