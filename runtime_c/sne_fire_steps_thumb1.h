/* All timesteps of a direct input's neurons in ARMv6-M's assembler (Cortex-M0): four int16 membranes stay in registers from timestep
 * to timestep, with turned signs (sne_fire_thumb1.h). */
#ifndef SNE_FIRE_STEPS_THUMB1_H
#define SNE_FIRE_STEPS_THUMB1_H

#include "sne_neuron.h"

/* One position from rest under a constant drive; what is left after the last timestep is not kept.
 *
 * Reads   r0 the job: drive and thresholds, [channels] each
 * Writes  the bits of the neurons that fire, by bytes
 * Holds   one timestep at least; channels a multiple of eight, not 0; all lie at words; thresholds are 1 at least; every final
 *         membrane fits; bits are 0 before
 * Uses    r0 drive, r1 thresholds, r3 the lanes' signs; r2, r4, r5; r6, r7 four membranes; r8 0x7fff in both lanes; r9 the bits that
 *         a shift leaves to its lane; r10 what leaking and turned signs still want added; r11 the byte of this timestep's spikes;
 *         lr. On the stack: bytes from one timestep's spikes to the next's; the bytes of the last one's and the first one's; where
 *         thresholds end; the first of four's bit in its byte; r7, which may be the frame pointer */
SNE_INLINE void sne_fire_steps_thumb1(const sne_neurons *p, const int16_t *drive, uint32_t timesteps, uint8_t *bits,
                                      size_t step, int decay, int32_t factor, int reset)
{
    const int32_t shift = decay == SNE_DECAY_SHIFT ? factor : 0;
    const uint32_t lanes = 0x10001u, signs = 0x8000u * lanes;
    struct { /* as the assembler loads it */
        uint32_t step;
        uint8_t *last, *first;
        uintptr_t end;
        uint32_t bit, below, kept, back;
        const void *threshold;
        const int16_t *drive;
        uint32_t signs;
    } job;
    register void *r0 __asm__("r0") = &job;
    job.step = (uint32_t)step;
    job.first = bits;
    job.last = bits + (timesteps - 1u) * step;
    job.end = (uintptr_t)p->threshold + 2u * (uintptr_t)p->channels;
    job.bit = 0;
    job.below = 0x7fffu * lanes;
    job.kept = (0xffffu >> shift) * lanes;
    job.back = (shift ? (0x8000u >> shift) * lanes : 0u) - signs;
    job.threshold = p->threshold;
    job.drive = drive;
    job.signs = signs;
    __asm__ volatile(
        ".syntax unified\n"
        ".macro sne_above t, m\n" /* the sign of t's lanes: m is not below 0 and above t; sometimes also where m = t, in the upper */
        "subs \\t, \\m, \\t\n"
        "subs \\t, #1\n"
        "ands \\t, \\m\n"
        ".endm\n"
        ".macro sne_leak u\n" /* r4 is free, r5 holds r9 where shift > 1 */
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
        ".macro sne_again s, m\n" /* s: 0x8000 in the lanes of m above their thresholds, in r5 */
        "movs \\s, \\m\n"
        "bics \\s, r3\n"
        "subs \\s, \\s, r5\n"
        "add \\s, r8\n"
        "ands \\s, \\m\n"
        "ands \\s, r3\n"
        ".endm\n"
        ".macro sne_reset s, m, free\n" /* m where a lane of s is 0x8000, its thresholds in r5 */
        "lsrs \\free, \\s, #15\n"
        "subs \\free, \\s, \\free\n"
        ".if %c[zero]\n"
        "bics \\m, \\free\n"
        ".else\n"
        "ands r5, \\free\n"
        "subs \\m, \\m, r5\n"
        ".endif\n"
        ".endm\n"
        ".macro sne_spikes last, back\n" /* of four, one may have fired: sets bits, resets unless it is the last timestep */
        "ldr r5, [r1]\n"
        "sne_again r2, r6\n"
        ".if \\last == 0\n"
        "sne_reset r2, r6, r4\n"
        ".endif\n"
        "mov lr, r2\n"
        "ldr r5, [r1, #4]\n"
        "sne_again r4, r7\n"
        ".if \\last == 0\n"
        "sne_reset r4, r7, r2\n"
        ".endif\n"
        "mov r2, lr\n"
        "lsrs r2, r2, #2\n"
        "orrs r4, r2\n"
        "beq \\back\n"
        "lsrs r5, r4, #15\n"
        "orrs r4, r5\n"
        "lsls r4, r4, #15\n"
        "lsrs r4, r4, #28\n" /* in order */
        "ldr r5, [sp, #16]\n"
        "lsls r4, r5\n"
        "mov r5, r11\n"
        "ldrb r2, [r5]\n"
        "orrs r4, r2\n"
        "strb r4, [r5]\n"
        "b \\back\n"
        ".endm\n"

        "push {r7}\n"
        "sub sp, #20\n"
        "mov r1, sp\n"
        "ldmia r0!, {r2-r6}\n"
        "stmia r1!, {r2-r6}\n"
        "ldmia r0!, {r2-r4}\n"
        "mov r8, r2\n"
        "mov r9, r3\n"
        "mov r10, r4\n"
        "ldmia r0!, {r1-r3}\n"
        "mov r0, r2\n"
        "1:\n" /* four neurons */
        "ldmia r0!, {r6, r7}\n"
        "eors r6, r3\n"
        "eors r7, r3\n"
        "ldr r2, [sp, #8]\n"
        "mov r11, r2\n"
        "ldr r4, [sp, #4]\n"
        "cmp r2, r4\n"
        "beq 4f\n"
        "2:\n" /* a timestep */
        "ldr r4, [r1]\n"
        "ldr r5, [r1, #4]\n"
        "sne_above r4, r6\n"
        "sne_above r5, r7\n"
        "orrs r4, r5\n"
        "tst r4, r3\n"
        "bne 6f\n"
        "3:\n"
        ".if %c[shift] > 1\n"
        "mov r5, r9\n"
        ".endif\n"
        "sne_leak r6\n"
        "sne_leak r7\n"
        "subs r0, #8\n"
        "ldmia r0!, {r4, r5}\n"
        "eors r4, r3\n"
        "eors r5, r3\n"
        "adds r6, r6, r4\n"
        "adds r7, r7, r5\n"
        "add r6, r10\n"
        "add r7, r10\n"
        "ldr r2, [sp]\n"
        "add r11, r2\n"
        "ldr r2, [sp, #4]\n"
        "cmp r2, r11\n"
        "bne 2b\n"
        "4:\n" /* the last one */
        "ldr r4, [r1]\n"
        "ldr r5, [r1, #4]\n"
        "sne_above r4, r6\n"
        "sne_above r5, r7\n"
        "orrs r4, r5\n"
        "tst r4, r3\n"
        "bne 7f\n"
        "5:\n"
        "adds r1, #8\n"
        "ldr r2, [sp, #16]\n"
        "movs r4, #4\n"
        "eors r2, r4\n"
        "str r2, [sp, #16]\n"
        "bne 1b\n" /* the other half of the byte */
        "ldr r2, [sp, #4]\n"
        "adds r2, #1\n"
        "str r2, [sp, #4]\n"
        "ldr r2, [sp, #8]\n"
        "adds r2, #1\n"
        "str r2, [sp, #8]\n"
        "ldr r2, [sp, #12]\n"
        "cmp r1, r2\n"
        "bne 1b\n"
        "b 8f\n"
        "6:\n"
        "sne_spikes 0, 3b\n"
        "7:\n"
        "sne_spikes 1, 5b\n"
        "8:\n"
        "add sp, #20\n"
        "pop {r7}\n"

        ".purgem sne_above\n"
        ".purgem sne_leak\n"
        ".purgem sne_again\n"
        ".purgem sne_reset\n"
        ".purgem sne_spikes\n"
        : "+r"(r0)
        : [shift] "i"(shift), [zero] "i"(reset == SNE_RESET_ZERO)
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "lr", "cc", "memory");
}

#endif
