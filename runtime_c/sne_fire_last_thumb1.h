/* Firing at a last timestep in ARMv6-M's assembler (Cortex-M0): four int16 membranes at once, two in a word, are compared and no
 * more, for nobody needs what is left in them. */
#ifndef SNE_FIRE_LAST_THUMB1_H
#define SNE_FIRE_LAST_THUMB1_H

#include "sne_neuron.h"

/* The bits and the number of the neurons that fire at a last timestep; the membranes stay as they are. `turned`, a constant: they
 * have turned signs.
 *
 * Reads   r0 the job, a position's: membranes and thresholds, [stride] each
 * Writes  the bits of the neurons that fired, by bytes; r0 their number, two counts in a word
 * Holds   stride a multiple of four, not 0; all lie at words; thresholds are 1 at least
 * Uses    r0 membranes, r1 thresholds, r3 the lanes' signs; r2, r4, r5; r6, r7 four membranes; r8 where thresholds end; r9 the
 *         index of the neuron at r0 less r0 / 2 and less four; r10 spikes; r11 0x7fff in both lanes; r12 bits; r7, which may be the
 *         frame pointer */
SNE_INLINE size_t sne_fire_last_thumb1(const sne_neurons *p, const int16_t *v, size_t positions, uint32_t *bits,
                                       size_t first, int turned)
{
    struct { /* as the assembler loads it */
        uintptr_t origin, end;
        uint32_t *bits;
        uint32_t below;
        const void *threshold;
        const int16_t *v;
        uint32_t signs;
    } job;
    uint32_t spikes = 0;
    job.end = (uintptr_t)p->threshold + 2u * (uintptr_t)p->stride;
    job.bits = bits;
    job.below = 0x7fff7fffu;
    job.threshold = p->threshold;
    job.signs = 0x80008000u;
    for (; positions; positions--, first += p->channels, v += p->stride) {
        register uintptr_t r0 __asm__("r0") = (uintptr_t)&job;
        job.origin = first - ((uintptr_t)v >> 1) - 4u; /* plus an address / 2: the index of a neuron */
        job.v = v;
        __asm__ volatile(
            ".syntax unified\n"
            ".macro sne_above t, m\n" /* the sign of t's lanes, t being positive: m >= 0 and m > t; sometimes also where m = t, in the upper */
            ".if %c[turned]\n"
            "subs \\t, \\m, \\t\n"
            "subs \\t, #1\n"
            "ands \\t, \\m\n"
            ".else\n"
            "subs \\t, \\t, \\m\n"
            "bics \\t, \\m\n"
            ".endif\n"
            ".endm\n"
            ".macro sne_again s, t, m\n" /* s: 0x8000 in the lanes where m > t, exactly; they are counted, r5 is free but for t */
            "movs \\s, \\m\n"
            "bics \\s, r3\n"
            "subs \\s, \\s, \\t\n"
            "add \\s, r11\n"
            ".if %c[turned]\n"
            "ands \\s, \\m\n"
            ".else\n"
            "bics \\s, \\m\n"
            ".endif\n"
            "ands \\s, r3\n"
            ".endm\n"

            "push {r7}\n" /* it may be the frame pointer */
            "ldmia r0!, {r4, r5, r6, r7}\n"
            "mov r9, r4\n"
            "mov r8, r5\n"
            "mov r12, r6\n"
            "mov r11, r7\n"
            "ldmia r0!, {r1, r2, r3}\n"
            "mov r0, r2\n"
            "movs r2, #0\n"
            "mov r10, r2\n"
            "1:\n" /* four neurons */
            "ldmia r1!, {r4, r5}\n"
            "ldmia r0!, {r6, r7}\n"
            "sne_above r4, r6\n"
            "sne_above r5, r7\n"
            "orrs r4, r5\n"
            "tst r4, r3\n"
            "bne 3f\n"
            "2:\n"
            "cmp r1, r8\n"
            "bne 1b\n"
            "b 5f\n"
            "3:\n" /* one of them may have fired */
            "subs r1, #8\n"
            "ldmia r1!, {r4, r5}\n"
            "sne_again r2, r4, r6\n"
            "sne_again r4, r5, r7\n"
            "lsrs r5, r2, #15\n"
            "add r10, r5\n"
            "lsrs r5, r4, #15\n"
            "add r10, r5\n"
            "lsrs r2, r2, #2\n"
            "orrs r4, r2\n"
            "beq 2b\n"
            "lsrs r5, r4, #15\n"
            "orrs r4, r5\n"
            "lsls r4, r4, #15\n"
            "lsrs r4, r4, #28\n" /* in order */
            "lsrs r2, r0, #1\n"
            "mov r5, r9\n"
            "adds r5, r5, r2\n"
            "lsls r2, r5, #29\n"
            "lsrs r2, r2, #29\n"
            "lsls r4, r2\n"
            "lsrs r5, r5, #3\n"
            "add r5, r12\n"
            "ldrb r2, [r5]\n"
            "orrs r4, r2\n"
            "strb r4, [r5]\n"
            "lsrs r4, r4, #8\n"
            "beq 2b\n"
            "strb r4, [r5, #1]\n"
            "b 2b\n"
            "5:\n"
            "mov r0, r10\n"
            "pop {r7}\n"

            ".purgem sne_above\n"
            ".purgem sne_again\n"
            : "+r"(r0)
            : [turned] "i"(turned)
            : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
        spikes += (uint32_t)r0;
    }
    return (spikes & 0xffffu) + (spikes >> 16);
}

#endif
