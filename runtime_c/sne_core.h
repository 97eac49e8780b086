/* What the compiler may use on the core it compiles for, decided here and nowhere else. Exactly one of these is defined:
 *
 *   SNE_HELIUM     Thumb with vectors (Cortex-M55)
 *   SNE_DSP        Thumb with two 16-bit lanes a word (Cortex-M4, M7, M33)
 *   SNE_THUMB2     Thumb-2 alone (Cortex-M3)
 *   SNE_THUMB1     the first Thumb instructions (Cortex-M0)
 *   SNE_HOST       a computer's vectors: AVX2, or AArch64
 *   SNE_PORTABLE   C99 alone: neither assembler nor intrinsics. For every other core, and compiler, and wherever the
 *                  build defines it.
 *
 * Assembler is little-endian Thumb in the syntax of GCC and clang. What counts is what the compiler is doing, not what the
 * core could do: in ARM state (-marm), code for a Cortex-A7 is portable. */
#ifndef SNE_CORE_H
#define SNE_CORE_H

#if defined(__GNUC__) && !defined(SNE_PORTABLE)
#if defined(__thumb__) && !defined(__ARM_BIG_ENDIAN)
#if defined(__ARM_FEATURE_MVE)
#define SNE_HELIUM
#elif defined(__ARM_FEATURE_SIMD32)
#define SNE_DSP
#elif __ARM_ARCH_ISA_THUMB > 1
#define SNE_THUMB2
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' /* the others' first Thumb lacks a few of these */
#define SNE_THUMB1
#endif
#elif defined(__AVX2__) || (defined(__ARM_NEON) && defined(__aarch64__) && !defined(__AARCH64EB__))
#define SNE_HOST
#endif
#endif

/* A computer that lists spikes without branches; the first Zen cores take hundreds of cycles for BMI2's instructions. */
#if defined(SNE_HOST) && defined(__x86_64__) && \
    (defined(__AVX512F__) || (defined(__BMI2__) && !defined(__znver1__) && !defined(__znver2__)))
#define SNE_HOST_LISTS
#endif

#if !defined(SNE_PORTABLE) && !defined(SNE_HELIUM) && !defined(SNE_DSP) && !defined(SNE_THUMB2) && \
    !defined(SNE_THUMB1) && !defined(SNE_HOST)
#define SNE_PORTABLE
#endif

/* A model for such a core defines SNE_BY_OUTPUT before it includes this: its direct input's weights lie output by output where
 * the kernels that want them so exist (sne_direct_helium.h), else as everywhere. */
#if defined(SNE_BY_OUTPUT) && !(defined(SNE_HELIUM) && defined(__OPTIMIZE__))
#undef SNE_BY_OUTPUT
#endif

#if defined(__GNUC__)
#define SNE_INLINE static inline __attribute__((always_inline, unused))
#define SNE_OUTLINE static __attribute__((noinline, unused)) /* loops that want all registers for themselves */
#define SNE_NAKED static __attribute__((naked, noinline, unused)) /* all assembler: arguments are in r0 to r3 */
#define SNE_REGISTER __attribute__((unused))
#define SNE_WORD_ALIGNED __attribute__((aligned(4))) /* weights, so that kernels can load four at once */
#else
#define SNE_INLINE static inline
#define SNE_OUTLINE static
#define SNE_WORD_ALIGNED
#endif

#endif
