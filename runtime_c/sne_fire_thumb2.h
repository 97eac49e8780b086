/* Firing in ARMv7-M's assembler: eight int16 membranes at once, two in a word, with the DSP extension (Cortex-M4, M7, M33)
 * or without (M3). Four that hold one above its threshold take a detour; spikes are rare.
 *
 * The M3 also takes membranes whose signs are turned, u = v + 2^15 in each lane: both lanes of a word leak, add and compare
 * at once, and whole words add exactly as long as every final lane is within 0 .. 65535, as the proven bounds say. The
 * drive then comes prepared. Comparing tells `m >= threshold` instead of above: the detour looks again.
 *
 * Registers: r0 membranes, r1 thresholds, r2 drive, r3 where eight more thresholds don't fit; r4 to r7 thresholds, then
 * which are exceeded (signs of lanes), then drives; r8 to r11 membranes; r12 a constant of the decay. */
#ifndef SNE_FIRE_THUMB2_H
#define SNE_FIRE_THUMB2_H

#include "sne_neuron.h"

SNE_INLINE int sne_fire_thumb2_can(int reset, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED;
}

#if defined(__ARM_FEATURE_SIMD32)

SNE_INLINE int sne_fire_thumb2_turns(int decay, int32_t factor)
{
    (void)decay;
    (void)factor;
    return 0;
}

#define SNE_ABOVE_AGAIN(a, b, m0, m1, threshold) ""

/* The sign of t's lanes: m > t. A saturated difference has the sign of the exact one. */
#define SNE_ABOVE(t, m) "qsub16 " #t ", " #t ", " #m "\n"

/* One decay of a word, r4, r5 and lr being free. v - (v >> k) is (v + (v + ... (v + 2^k - 1) >> 1 ...) >> 1) >> 1. */
#define SNE_LEAK(m)                                     \
    ".if %c[leak] == 16\n"                              \
    "smulwb r4, r12, " #m "\n"                          \
    "smulwt r5, r12, " #m "\n"                          \
    "pkhbt " #m ", r4, r5, lsl #16\n"                   \
    ".elseif %c[leak] > 4\n"                            \
    "sbfx r4, " #m ", #%c[shift], #16-%c[shift]\n"      \
    "asr lr, " #m ", #%c[shift]\n"                      \
    "pkhbt lr, r4, lr\n"                                \
    "ssub16 " #m ", " #m ", lr\n"                       \
    ".elseif %c[leak] == 1\n"                           \
    "shadd16 " #m ", " #m ", r12\n"                     \
    ".elseif %c[leak] > 1\n"                            \
    "shadd16 r4, " #m ", r12\n"                         \
    ".rept %c[leak] - 2\n"                              \
    "shadd16 r4, " #m ", r4\n"                          \
    ".endr\n"                                           \
    "shadd16 " #m ", " #m ", r4\n"                      \
    ".endif\n"

#define SNE_DRIVE(m, d) "sadd16 " #m ", " #m ", " #d "\n"

SNE_INLINE uint32_t sne_leak_constant(int decay, int32_t factor, int turned)
{
    (void)turned;
    return decay == SNE_DECAY_Q15 ? 2u * (uint32_t)factor : (((uint32_t)1 << (factor & 7)) - 1u) * 0x10001u;
}

#else

SNE_INLINE int sne_fire_thumb2_turns(int decay, int32_t factor)
{
    return decay == SNE_DECAY_NONE || (decay == SNE_DECAY_SHIFT && factor < 8);
}

/* The sign of t's lanes: m >= 0 and m > t, which is 1 at least. No lane borrows from the next; turned, one may, and where
 * none does m = t counts as well. */
#define SNE_ABOVE(t, m)                   \
    ".if %c[turned]\n"                    \
    "sub " #t ", " #m ", " #t "\n"        \
    "and " #t ", " #t ", " #m "\n"        \
    ".else\n"                             \
    "orr lr, " #m ", #0x80008000\n"       \
    "sub " #t ", lr, " #t "\n"            \
    "sub " #t ", " #t ", #0x00010001\n"   \
    "bic " #t ", " #t ", " #m "\n"        \
    ".endif\n"

/* In the detour: exactly, where signs are turned. */
#define SNE_ABOVE_AGAIN(a, b, m0, m1, threshold)       \
    ".if %c[turned]\n"                                 \
    "ldrd " #a ", " #b ", [r1, #" #threshold "]\n"     \
    "orr lr, " #m0 ", #0x80008000\n"                   \
    "sub " #a ", lr, " #a "\n"                         \
    "sub " #a ", " #a ", #0x00010001\n"                \
    "and " #a ", " #a ", " #m0 "\n"                    \
    "orr lr, " #m1 ", #0x80008000\n"                   \
    "sub " #b ", lr, " #b "\n"                         \
    "sub " #b ", " #b ", #0x00010001\n"                \
    "and " #b ", " #b ", " #m1 "\n"                    \
    ".endif\n"

#define SNE_LEAK(m) ""

/* Leak and charge: lanes one by one are as cheap as both in a word. lr is free. */
#define SNE_DRIVE(m, d)                             \
    ".if %c[turned]\n"                              \
    ".if %c[leak]\n"                                \
    "and lr, r12, " #m ", lsr #%c[shift]\n"         \
    "sub " #m ", " #m ", lr\n"                      \
    ".endif\n"                                      \
    "add " #m ", " #m ", " #d "\n"                  \
    ".elseif %c[leak] == 0\n"                       \
    "add lr, " #m ", " #d "\n"                      \
    "bfc " #m ", #0, #16\n"                         \
    "add " #m ", " #m ", " #d "\n"                  \
    ".else\n"                                       \
    "sxth lr, " #m "\n"                             \
    "asr " #m ", " #m ", #16\n"                     \
    ".if %c[leak] == 16\n"                          \
    "mul lr, lr, r12\n"                             \
    "mul " #m ", " #m ", r12\n"                     \
    "add lr, " #d ", lr, asr #15\n"                 \
    "asr " #m ", " #m ", #15\n"                     \
    ".else\n"                                       \
    "sub lr, lr, lr, asr #%c[shift]\n"              \
    "sub " #m ", " #m ", " #m ", asr #%c[shift]\n"  \
    "add lr, lr, " #d "\n"                          \
    ".endif\n"                                      \
    "add " #m ", " #d ", " #m ", lsl #16\n"         \
    ".endif\n"                                      \
    ".if %c[turned] == 0\n"                         \
    "bfi " #m ", lr, #0, #16\n"                     \
    ".endif\n"

SNE_INLINE uint32_t sne_leak_constant(int decay, int32_t factor, int turned)
{
    if (turned) { /* the bits that a shift leaves to its lane */
        return (0xffffu >> (factor & 7)) * 0x10001u;
    }
    return decay == SNE_DECAY_Q15 ? (uint32_t)factor : 0u;
}

#endif

/* Four neurons: has any fired? */
#define SNE_ANY_ABOVE(t0, t1, m0, m1) \
    SNE_ABOVE(t0, m0)                 \
    SNE_ABOVE(t1, m1)                 \
    "orr lr, " #t0 ", " #t1 "\n"      \
    "tst lr, #0x80008000\n"

/* Reset the word m, where a lane of `above` is 0x8000 or 0. */
#define SNE_RESET(above, m, threshold)              \
    "sub lr, " #above ", " #above ", lsr #15\n"     \
    ".if %c[zero]\n"                                \
    "orr lr, lr, " #above "\n"                      \
    "bic " #m ", " #m ", lr\n"                      \
    ".if %c[turned]\n"                              \
    "orr " #m ", " #m ", " #above "\n"              \
    ".endif\n"                                      \
    ".else\n"                                       \
    "ldr r12, [r1, #" #threshold "]\n"              \
    "and r12, r12, lr\n"                            \
    "sub " #m ", " #m ", r12\n"                     \
    ".endif\n"

/* The detour of four neurons, `ahead` of those at r0; `threshold` is the place of the first pair's, seen from r1. Ends with
 * Z set unless bits are left for the next byte, in `b`, at `a` + 1. */
#define SNE_FOUR_SPIKE(a, b, m0, m1, threshold, ahead)  \
    SNE_ABOVE_AGAIN(a, b, m0, m1, threshold)            \
    "and " #a ", " #a ", #0x80008000\n"                 \
    "and " #b ", " #b ", #0x80008000\n"                 \
    SNE_RESET(a, m0, threshold)                         \
    SNE_RESET(b, m1, threshold + 4)                     \
    "ldr lr, [sp, #8]\n"                               \
    "add lr, lr, " #a ", lsr #15\n"                     \
    "add lr, lr, " #b ", lsr #15\n"                     \
    "str lr, [sp, #8]\n"                               \
    "orr " #b ", " #b ", " #a ", lsr #2\n"              \
    "orr " #b ", " #b ", " #b ", lsr #15\n"             \
    "ubfx " #b ", " #b ", #13, #4\n" /* in order */     \
    "ldrd r12, " #a ", [sp]\n"                      \
    "add r12, r12, r0, lsr #1\n"                        \
    ".if " #ahead "\n"                                  \
    "add r12, r12, #" #ahead "\n"                       \
    ".endif\n"                                          \
    "and lr, r12, #7\n"                                 \
    "lsl " #b ", " #b ", lr\n"                          \
    "add " #a ", " #a ", r12, lsr #3\n"                 \
    ".if %c[leak]\n"                                    \
    "ldr r12, [sp, #12]\n"                              \
    ".endif\n"                                          \
    "ldrb lr, [" #a "]\n"                               \
    "orr " #b ", " #b ", lr\n"                          \
    "strb " #b ", [" #a "]\n"                           \
    "lsrs " #b ", " #b ", #8\n"

SNE_INLINE size_t sne_fire_thumb2(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions,
                                  uint32_t *bits, size_t first, int decay, int32_t factor, int reset, int turned)
{
    const uintptr_t origin = first - ((uintptr_t)v >> 1); /* plus an address / 2: the index of a neuron */
    const uint32_t constant = sne_leak_constant(decay, factor, turned);
    const int16_t *const last = v + positions * p->stride;
    register uintptr_t r0 __asm__("r0") = (uintptr_t)v;
    register const void *r1 __asm__("r1") = p->threshold;
    register const int16_t *r2 __asm__("r2") = drive;
    register uintptr_t r3 __asm__("r3") = (uintptr_t)p->threshold + 2u * (uintptr_t)p->stride - 15u; /* the end */
    register uintptr_t r4 __asm__("r4") = origin;
    register uint32_t *r5 __asm__("r5") = bits;
    register uint32_t r6 __asm__("r6") = (uint32_t)p->channels - p->stride; /* of indices between positions */
    register const int16_t *r8 __asm__("r8") = last;
    register uint32_t r12 __asm__("r12") = constant;
    /* On the stack: origin, bits, spikes (two counts in a word), constant, threshold, drive, gap, last; r7, which may be
     * the frame pointer. */
    __asm__ volatile("push {r7}\n"
                     "push {r1, r2, r6, r8}\n"
                     "mov r6, #0\n"
                     "mov r7, r12\n"
                     "push {r4-r7}\n"
                     "cmp r1, r3\n"
                     "bhs 5f\n"
                     "1:\n"
                     "ldm r1!, {r4-r7}\n"
                     "ldm r0, {r8-r11}\n"
                     SNE_ANY_ABOVE(r4, r5, r8, r9)
                     "bne 3f\n"
                     "2:\n"
                     SNE_ANY_ABOVE(r6, r7, r10, r11)
                     "bne 4f\n"
                     "9:\n"
                     SNE_LEAK(r8) SNE_LEAK(r9) SNE_LEAK(r10) SNE_LEAK(r11)
                     "ldm r2!, {r4-r7}\n"
                     SNE_DRIVE(r8, r4) SNE_DRIVE(r9, r5) SNE_DRIVE(r10, r6) SNE_DRIVE(r11, r7)
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
                     SNE_ANY_ABOVE(r4, r5, r8, r9)
                     "bne 3f\n"
                     "6:\n"
                     SNE_LEAK(r8) SNE_LEAK(r9)
                     "ldrd r6, r7, [r2]\n"
                     SNE_DRIVE(r8, r6) SNE_DRIVE(r9, r7)
                     "strd r8, r9, [r0], #8\n"
                     "b 8f\n"
                     "3:\n"
                     SNE_FOUR_SPIKE(r4, r5, r8, r9, -16, 0)
                     "beq 7f\n"
                     "strb r5, [r4, #1]\n"
                     "7:\n"
                     "cmp r6, #0\n"
                     "bne 2b\n"
                     "b 6b\n"
                     "4:\n"
                     SNE_FOUR_SPIKE(r6, r7, r10, r11, -8, 4)
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
                     : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6), "+r"(r8), "+r"(r12)
                     : [leak] "i"(decay == SNE_DECAY_SHIFT ? factor : decay == SNE_DECAY_Q15 ? 16 : 0),
                       [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 1), [zero] "i"(reset == SNE_RESET_ZERO),
                       [turned] "i"(turned)
                     : "r9", "r10", "r11", "lr", "cc", "memory");
    return ((uint32_t)r0 & 0xffffu) + ((uint32_t)r0 >> 16);
}

#endif
