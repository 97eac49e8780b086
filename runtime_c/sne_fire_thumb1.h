/* Firing in ARMv6-M's assembler (Cortex-M0): four int16 membranes at once, two in a word. Signs turned, a lane u = v + 2^15
 * is never negative, and whole words add and subtract exactly as long as every final lane is within 0 .. 65535,
 * which the proven bounds say. Membranes come and go with turned signs where their layer leaves them so (`turned`), else
 * they are turned here. Four that seem to hold one above its threshold take a detour; spikes are rare. */
#ifndef SNE_FIRE_THUMB1_H
#define SNE_FIRE_THUMB1_H

#include "sne_neuron.h"

SNE_INLINE int sne_fire_thumb1_can(int reset, int decay, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && decay != SNE_DECAY_Q15;
}

/* sne_fire (sne_fire.h) for int16 membranes, where sne_fire_thumb1_can. `turned`, a constant: membranes have turned signs.
 *
 * Reads   r0 the job, a position's: membranes, thresholds and drive, [stride] each
 * Writes  the membranes; the bits of the neurons that fired, by bytes; r0 their number, two counts in a word
 * Holds   stride a multiple of four, not 0; all lie at words; thresholds are 1 at least; every final membrane fits
 * Uses    r0 membranes, r1 thresholds, r2 drive, r3 the lanes' signs; r4, r5; r6, r7 four membranes; r8 all other bits; r9
 *         the bits that a shift leaves to its lane; r10 what leaking and turned signs still want added; r11 where
 *         thresholds end; r12 spikes. On the stack: two words, origin, bits; r7 */
SNE_INLINE size_t sne_fire_thumb1(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions, uint32_t *bits,
                                size_t first, int decay, int32_t factor, int reset, int turned)
{
    const int32_t shift = decay == SNE_DECAY_SHIFT ? factor : 0;
    const uint32_t lanes = 0x10001u, signs = 0x8000u * lanes;
    struct { /* as the assembler loads it */
        uint32_t below, kept, back;
        uintptr_t end, origin;
        uint32_t *bits;
        uint32_t spikes;
        int16_t *v;
        const void *threshold;
        const int16_t *drive;
        uint32_t signs;
    } job;
    job.below = signs - lanes;
    job.kept = (0xffffu >> shift) * lanes;
    job.back = (shift ? (0x8000u >> shift) * lanes : 0u) - signs;
    job.end = (uintptr_t)p->threshold + 2u * (uintptr_t)p->stride;
    job.bits = bits;
    job.spikes = 0;
    job.threshold = p->threshold;
    job.drive = drive;
    job.signs = signs;
    for (; positions; positions--, first += p->channels, v += p->stride) {
        register uintptr_t r0 __asm__("r0") = (uintptr_t)&job;
        job.origin = first - ((uintptr_t)v >> 1); /* plus an address / 2: the index of a neuron */
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
            ".macro sne_turn m\n"
            ".if %c[turned] == 0\n"
            "eors \\m, r3\n"
            ".endif\n"
            ".endm\n"
            ".macro sne_leak u\n" /* the word u, its signs turned; r4 is free, r5 holds r9 where shift > 1 */
            ".if %c[shift]\n"
            "lsrs r4, \\u, #%c[shift]\n"
            ".if %c[shift] == 1\n"
            "bics r4, r3\n"
            ".else\n"
            "ands r4, r5\n"
            ".endif\n"
            "subs \\u, \\u, r4\n"
            ".endif\n"
            ".endm\n"
            ".macro sne_reset m, place\n" /* r4: 0x8000 in the lanes of m that fired; they are counted, and reset by the threshold at */
            "movs r4, \\m\n"            /* r1 + place; to 4 where none; r2 and r5 are free */
            "bics r4, r3\n"
            "ldr r5, [r1, #\\place]\n"
            "subs r4, r4, r5\n"
            "add r4, r8\n"
            ".if %c[turned]\n"
            "ands r4, \\m\n"
            ".else\n"
            "bics r4, \\m\n"
            ".endif\n"
            "ands r4, r3\n"
            "beq 4f\n"
            "lsrs r2, r4, #15\n"
            "add r12, r2\n"
            "subs r2, r4, r2\n"
            ".if %c[zero]\n"
            ".if %c[turned] == 0\n"
            "orrs r2, r4\n"
            ".endif\n"
            "bics \\m, r2\n"
            ".else\n"
            "ands r5, r2\n"
            "subs \\m, \\m, r5\n"
            ".endif\n"
            ".endm\n"

            "push {r7}\n" /* it may be the frame pointer */
            "ldmia r0!, {r4, r5, r6, r7}\n"
            "mov r8, r4\n"
            "mov r9, r5\n"
            "mov r10, r6\n"
            "mov r11, r7\n"
            "ldmia r0!, {r4, r5, r6}\n"
            "mov r12, r6\n"
            "ldmia r0!, {r1, r2, r3, r6}\n"
            "mov r0, r1\n"
            "mov r1, r2\n"
            "mov r2, r3\n"
            "mov r3, r6\n"
            "push {r2, r3, r4, r5}\n" /* room for two words; origin; bits */
            "1:\n"                    /* four neurons */
            "ldmia r1!, {r4, r5}\n"
            "ldr r6, [r0]\n"
            "ldr r7, [r0, #4]\n"
            "sne_above r4, r6\n"
            "sne_above r5, r7\n"
            "orrs r4, r5\n"
            "tst r4, r3\n"
            "bne 3f\n"
            "2:\n"
            ".if %c[shift] > 1\n"
            "mov r5, r9\n"
            ".endif\n"
            "sne_turn r6\n"
            "sne_turn r7\n"
            "sne_leak r6\n"
            "sne_leak r7\n"
            "ldmia r2!, {r4, r5}\n"
            "eors r4, r3\n"
            "eors r5, r3\n"
            "adds r6, r6, r4\n"
            "adds r7, r7, r5\n"
            "add r6, r10\n"
            "add r7, r10\n"
            "sne_turn r6\n"
            "sne_turn r7\n"
            "stmia r0!, {r6, r7}\n"
            "cmp r1, r11\n"
            "bne 1b\n"
            "b 5f\n"
            "3:\n" /* one of them may have fired */
            "str r2, [sp]\n"
            "subs r1, #8\n"
            "sne_reset r6, 0\n"
            "4:\n"
            "lsrs r4, r4, #2\n"
            "str r4, [sp, #4]\n"
            "sne_reset r7, 4\n"
            "4:\n"
            "adds r1, #8\n"
            "ldr r2, [sp, #4]\n"
            "orrs r4, r2\n"
            "beq 6f\n"
            "lsrs r2, r4, #15\n"
            "orrs r4, r2\n"
            "lsls r4, r4, #15\n"
            "lsrs r4, r4, #28\n" /* in order */
            "ldr r5, [sp, #8]\n"
            "lsrs r2, r0, #1\n"
            "adds r5, r5, r2\n"
            "lsls r2, r5, #29\n"
            "lsrs r2, r2, #29\n"
            "lsls r4, r2\n"
            "lsrs r5, r5, #3\n"
            "ldr r2, [sp, #12]\n"
            "adds r5, r5, r2\n"
            "ldrb r2, [r5]\n"
            "orrs r4, r2\n"
            "strb r4, [r5]\n"
            "lsrs r4, r4, #8\n"
            "beq 6f\n"
            "strb r4, [r5, #1]\n"
            "6:\n"
            "ldr r2, [sp]\n"
            "b 2b\n"
            "5:\n"
            "mov r0, r12\n"
            "add sp, #16\n"
            "pop {r7}\n"

            ".purgem sne_above\n"
            ".purgem sne_turn\n"
            ".purgem sne_leak\n"
            ".purgem sne_reset\n"
            : "+r"(r0)
            : [shift] "i"(shift), [zero] "i"(reset == SNE_RESET_ZERO), [turned] "i"(turned)
            : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
        job.spikes = (uint32_t)r0;
    }
    return (job.spikes & 0xffffu) + (job.spikes >> 16);
}

#endif
