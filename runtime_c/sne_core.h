/* What the compiler may use on the core it compiles for, decided here and nowhere else. Exactly one of these is defined:
 *
 *   SNE_HELIUM     Thumb with vectors (Cortex-M55)
 *   SNE_DSP        Thumb with two 16-bit lanes a word (Cortex-M4, M7, M33)
 *   SNE_THUMB2     Thumb-2 alone (Cortex-M3)
 *   SNE_THUMB1     the first Thumb instructions (Cortex-M0)
 *   SNE_WORDS      words of two 16-bit lanes in C alone (32-bit RISC-V that multiplies)
 *   SNE_HOST       a computer's vectors: AVX2, or AArch64
 *   SNE_PORTABLE   C99 alone: neither assembler nor intrinsics. For every other core, and compiler, and wherever the
 *                  build defines it.
 *
 * Assembler is little-endian Thumb in the syntax of GCC and clang. What counts is what the compiler is doing, not what the
 * core could do: in ARM state (-marm), code for a Cortex-A7 is portable. */
#ifndef SNE_CORE_H
#define SNE_CORE_H

#include <limits.h>
#include <stdint.h>

/* A debug build of a whole program (-O0) would take 6 to 15 times the instructions here: GCC then compiles the engine as -Og does,
 * which can be stepped through, and defines __OPTIMIZE__ from here on. A caller's own files stay as they are built: only
 * sne_load.h brings them here. Clang has no such pragma. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__OPTIMIZE__) && !defined(SNE_LOAD_H)
#pragma GCC optimize("Og")
#endif

#if CHAR_BIT != 8
#error "sne-edge needs bytes of eight bits"
#endif

#if defined(__ARM_RWPI) && !defined(SNE_PORTABLE) /* clang keeps r9 for the data's place; kernels want it */
#define SNE_PORTABLE
#endif

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
#elif defined(__riscv) && __riscv_xlen == 32 && defined(__riscv_mul) && !defined(__riscv_32e) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SNE_WORDS
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
    !defined(SNE_THUMB1) && !defined(SNE_WORDS) && !defined(SNE_HOST)
#define SNE_PORTABLE
#endif

/* A model for such a core defines SNE_BY_OUTPUT before it includes this: its direct input's weights lie output by output where
 * the kernels that want them so exist (sne_direct_helium.h), else as everywhere. */
#if defined(SNE_BY_OUTPUT) && !(defined(SNE_HELIUM) && defined(__OPTIMIZE__))
#undef SNE_BY_OUTPUT
#endif

#if defined(__GNUC__)
#if defined(__OPTIMIZE__)
#define SNE_INLINE static inline __attribute__((always_inline, no_instrument_function, unused))
#else /* nothing would be chosen at compile time: a copy for each caller is only larger */
#define SNE_INLINE static inline __attribute__((no_instrument_function, unused))
#endif
#define SNE_OUTLINE static __attribute__((noinline, no_instrument_function, unused)) /* loops that want all registers for themselves */
#define SNE_NAKED static __attribute__((naked, noinline, no_instrument_function, unused)) /* all assembler: arguments are in r0 to r3 */
#define SNE_REGISTER __attribute__((unused))
#define SNE_WORD_ALIGNED __attribute__((aligned(4))) /* weights, so that kernels can load four at once */
#define SNE_ANY_MEMORY __attribute__((may_alias))
#else
#define SNE_INLINE static inline
#define SNE_OUTLINE static
#define SNE_WORD_ALIGNED
#define SNE_ANY_MEMORY
#endif

/* An arena of words holds membranes of 16 bits, and kernels take weights and membranes a word at a time. Memory of one type may
 * be read and written as another through these types only. Other compilers than GCC and clang have no such types: there sne_get
 * and sne_put copy, and the kernels that work on words are left out. */
typedef int16_t SNE_ANY_MEMORY sne_half;
typedef uint32_t SNE_ANY_MEMORY sne_word;

#endif
