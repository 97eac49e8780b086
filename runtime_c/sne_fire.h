/* Firing: the end of a timestep, once for every neuron, and what it leaves to find at the next. sne_core.h says which core's
 * passes are taken. */
#ifndef SNE_FIRE_H
#define SNE_FIRE_H

#include "sne_neuron.h"

/* Assembler takes decay, shift and reset as constants, and nearly all registers: only an optimising compiler can give both. */
#if defined(__OPTIMIZE__) && defined(SNE_HELIUM)
#include "sne_fire_helium.h"
#include "sne_charge_thumb.h"
#define SNE_FIRE_HELIUM
#elif defined(__OPTIMIZE__) && defined(SNE_DSP)
#include "sne_fire_dsp.h"
#include "sne_fire_last_thumb2.h"
#include "sne_fire_wide_thumb2.h"
#include "sne_charge_thumb.h"
#define SNE_FIRE_DSP
#elif defined(__OPTIMIZE__) && defined(SNE_THUMB2)
#include "sne_fire_thumb2.h"
#include "sne_fire_last_thumb2.h"
#include "sne_fire_wide_thumb2.h"
#include "sne_charge_thumb.h"
#define SNE_FIRE_THUMB2
#elif defined(__OPTIMIZE__) && defined(SNE_THUMB1)
#include "sne_fire_thumb1.h"
#include "sne_fire_last_thumb1.h"
#include "sne_fire_steps_thumb1.h"
#include "sne_charge_thumb.h"
#define SNE_FIRE_THUMB1
#elif defined(__OPTIMIZE__) && defined(SNE_WORDS)
#include "sne_fire_words.h"
#define SNE_FIRE_WORDS
#elif defined(SNE_HOST)
#include "sne_fire_host.h"
#endif

/* Does the pass for turned membranes take a turned drive? */
#if defined(SNE_FIRE_THUMB2)
#define SNE_TURNED_DRIVE 1
#else
#define SNE_TURNED_DRIVE 0
#endif

/* Otherwise: are membranes turned as well to which chains are added? */
#if defined(SNE_FIRE_WORDS)
#define SNE_TURNED_CHAINS 1
#else
#define SNE_TURNED_CHAINS 0
#endif

/* Does this core rather fire membranes with turned signs, u = v + 2^15? All arguments are constants. */
SNE_INLINE int sne_fire_turns(int width, int decay, int32_t factor, int reset, int clamp)
{
#if defined(SNE_FIRE_THUMB2)
    return width == 16 && sne_fire_thumb2_can(reset, clamp) && sne_fire_thumb2_turns(decay, factor);
#elif defined(SNE_FIRE_THUMB1)
    (void)factor;
    return width == 16 && sne_fire_thumb1_can(reset, decay, clamp);
#elif defined(SNE_FIRE_WORDS)
    (void)factor;
    return width == 16 && sne_fire_words_can(reset, decay, clamp);
#else
    (void)width;
    (void)decay;
    (void)factor;
    (void)reset;
    (void)clamp;
    return 0;
#endif
}

/* Has this core a pass for last timesteps (sne_fire_last)? `width` is a constant. */
SNE_INLINE int sne_fire_has_last(int width)
{
#if defined(SNE_FIRE_DSP) || defined(SNE_FIRE_THUMB2) || defined(SNE_FIRE_THUMB1) || defined(SNE_FIRE_WORDS)
    return width == 16;
#else
    (void)width;
    return 0;
#endif
}

#if defined(SNE_FIRE_DSP) || defined(SNE_FIRE_THUMB2)
#define SNE_FIRE_LAST sne_fire_last_thumb2
#elif defined(SNE_FIRE_THUMB1)
#define SNE_FIRE_LAST sne_fire_last_thumb1
#elif defined(SNE_FIRE_WORDS)
#define SNE_FIRE_LAST sne_fire_last_words
#endif
#if defined(SNE_FIRE_LAST)
SNE_OUTLINE size_t sne_fire_last_plain(const sne_neurons *p, const int16_t *v, size_t positions, uint32_t *bits, size_t first)
{
    return SNE_FIRE_LAST(p, v, positions, bits, first, 0);
}

SNE_OUTLINE size_t sne_fire_last_turned(const sne_neurons *p, const int16_t *v, size_t positions, uint32_t *bits, size_t first)
{
    return SNE_FIRE_LAST(p, v, positions, bits, first, 1);
}
#endif

/* Where sne_fire_has_last: sne_fire of membranes that nobody needs any more, and that it leaves as they are; `turned`, a constant:
 * with turned signs. */
SNE_INLINE size_t sne_fire_last(const sne_neurons *p, const void *v, size_t positions, uint32_t *bits, size_t first, int turned)
{
#if defined(SNE_FIRE_LAST)
    if (turned) {
        return sne_fire_last_turned(p, (const int16_t *)v, positions, bits, first);
    }
    return sne_fire_last_plain(p, (const int16_t *)v, positions, bits, first);
#else
    (void)p;
    (void)v;
    (void)positions;
    (void)bits;
    (void)first;
    (void)turned;
    return 0;
#endif
}

/* Has this core a pass through all timesteps at once (sne_fire_steps)? All arguments are constants. */
SNE_INLINE int sne_fire_has_steps(int width, int decay, int reset, int clamp)
{
#if defined(SNE_FIRE_DSP)
    (void)decay;
    return width == 16 && sne_fire_dsp_can(reset, clamp);
#elif defined(SNE_FIRE_THUMB1)
    return width == 16 && sne_fire_thumb1_can(reset, decay, clamp);
#elif defined(SNE_FIRE_WORDS)
    return width == 16 && sne_fire_words_can(reset, decay, clamp);
#else
    (void)width;
    (void)decay;
    (void)reset;
    (void)clamp;
    return 0;
#endif
}

/* Where sne_fire_has_steps: one position's neurons, a multiple of eight, through all timesteps from rest under a constant drive;
 * their membranes are not kept. Bits are written by whole bytes: those from `first` on, a multiple of eight, in maps of `words`
 * a timestep. Nobody counts them: see sne_count_bits. */
SNE_INLINE void sne_fire_steps(const sne_neurons *p, const void *drive, uint32_t timesteps, uint32_t *bits, size_t words,
                               size_t first, int decay, int32_t factor, int reset)
{
#if defined(SNE_FIRE_DSP)
    sne_fire_steps_dsp(p, (const int16_t *)drive, timesteps, (uint8_t *)bits + (first >> 3), 4u * words, decay, factor, reset);
#elif defined(SNE_FIRE_THUMB1)
    sne_fire_steps_thumb1(p, (const int16_t *)drive, timesteps, (uint8_t *)bits + (first >> 3), 4u * words, decay, factor, reset);
#elif defined(SNE_FIRE_WORDS)
    sne_fire_steps_words(p, drive, timesteps, (uint8_t *)bits + (first >> 3), 4u * words, decay, factor, reset);
#else
    (void)p;
    (void)drive;
    (void)timesteps;
    (void)bits;
    (void)words;
    (void)first;
    (void)decay;
    (void)factor;
    (void)reset;
#endif
}

/* Charge the fresh membranes of one position: v = drive (its constant current, or the bias); `turned`, a constant: with turned
 * signs. */
SNE_INLINE void sne_charge_fresh(void *v, const void *drive, size_t stride, int width, int turned)
{
#if defined(SNE_FIRE_HELIUM) || defined(SNE_FIRE_DSP) || defined(SNE_FIRE_THUMB2) || defined(SNE_FIRE_THUMB1)
    const size_t words = stride * (size_t)width / 32u; /* even */
    sne_charge_thumb((sne_word *)v, (const sne_word *)drive, words, turned ? 0x80008000u : 0u, turned);
#elif defined(SNE_FIRE_WORDS)
    const size_t words = stride * (size_t)width / 32u;
    const sne_word *from = (const sne_word *)drive, *const end = from + words; /* an even number */
    sne_word *to = (sne_word *)v;
    for (; from != end; from += 2, to += 2) {
        to[0] = from[0] ^ (turned ? 0x80008000u : 0u);
        to[1] = from[1] ^ (turned ? 0x80008000u : 0u);
    }
#else
    (void)turned; /* only where sne_fire_turns */
    sne_charge_portable(v, drive, stride, width);
#endif
}

/* A position's constant current from its sums: current[c] = sums[c] >> shift, which fits the membranes' width. `current` lies
 * at a word, `stride` is a multiple of four. */
SNE_INLINE void sne_shift_current(void *current, const int32_t *sums, size_t stride, uint32_t shift, int width)
{
    size_t c = 0;
#if defined(SNE_HELIUM) || defined(SNE_DSP) || defined(SNE_THUMB2) || defined(SNE_THUMB1) || defined(SNE_WORDS)
    sne_word *to = (sne_word *)current;
#if !defined(SNE_THUMB1) && !defined(SNE_WORDS)
    if (width == 16 && shift <= 16) {
        const int32_t *const end = sums + stride;
        do { /* a word of two sums is the upper half of one of them, and the lower half of the other moved in */
            uint32_t a, b, d, e;
            __asm__ volatile("ldrd %[a], %[b], [%[from]], #8\n"
                    "ldrd %[d], %[e], [%[from]], #8\n"
                    "lsr %[a], %[a], %[down]\n"
                    "lsl %[b], %[b], %[up]\n"
                    "bfi %[b], %[a], #0, #16\n"
                    "lsr %[d], %[d], %[down]\n"
                    "lsl %[e], %[e], %[up]\n"
                    "bfi %[e], %[d], #0, #16\n"
                    "strd %[b], %[e], [%[to]], #8\n"
                    : [a] "=&r"(a), [b] "=&r"(b), [d] "=&r"(d), [e] "=&r"(e), [from] "+r"(sums), [to] "+r"(to)
                    : [down] "r"(shift), [up] "r"(16u - shift)
                    : "memory");
        } while (sums != end);
        return;
    }
#endif
    for (; width == 16 && c < stride; c += 4, to += 2) {
        to[0] = ((uint32_t)(sums[c] >> shift) & 0xffffu) | (uint32_t)(sums[c + 1] >> shift) << 16;
        to[1] = ((uint32_t)(sums[c + 2] >> shift) & 0xffffu) | (uint32_t)(sums[c + 3] >> shift) << 16;
    }
    if (width == 16) {
        return;
    }
#endif
    for (; c < stride; c++) {
        sne_put(current, c, sums[c] >> shift, width);
    }
}

/* Turn the signs of so many membranes, an even number, or turn them back. */
SNE_OUTLINE void sne_turn(void *v, size_t n)
{
    sne_word *word = (sne_word *)v, *const end = word + n / 2u;
    for (; word != end; word++) {
        *word ^= 0x80008000u;
    }
}

/* What firing adds to n turned membranes in place of `drive`: what leaking takes from 2^15 as well. */
SNE_INLINE void sne_turned_drive(void *turned, const void *drive, size_t n, int decay, int32_t factor)
{
    sne_word *const to = (sne_word *)turned;
    const sne_word *from = (const sne_word *)drive;
    const uint32_t kept = decay == SNE_DECAY_SHIFT ? 0x8000u - (0x8000u >> (factor & 15)) : 0x8000u;
    size_t i;
    for (i = 0; i < n / 2u; i++) {
        to[i] = (from[i] ^ 0x80008000u) - kept * 0x10001u;
    }
}

/* Fire, reset, clamp, charge for the next timestep, for `positions` whole positions. Sets the bits, from `first` on, of
 * the neurons that fired, and returns their number; bits before `first` are left, those from there on must be 0. `v` is
 * [positions][stride], at a multiple of four bytes; `drive`, one position's bias or constant current, is [stride];
 * `factor` the shift or q15 of the decay. `turned`: membranes have turned signs and, with SNE_TURNED_DRIVE, so has
 * `drive`. */
SNE_INLINE size_t sne_fire(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                           size_t first, int width, int decay, int32_t factor, int reset, int clamp, int turned)
{
#if defined(SNE_FIRE_HELIUM)
    (void)turned;
    return sne_fire_helium(p, v, drive, positions, bits, first, width, decay, factor, reset, clamp);
#elif defined(SNE_FIRE_DSP)
    if (width == 16 && sne_fire_dsp_can(reset, clamp)) {
        return sne_fire_dsp(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset);
    }
#elif defined(SNE_FIRE_THUMB2)
    if (width == 16 && sne_fire_thumb2_can(reset, clamp)) {
        return sne_fire_thumb2(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset,
                               turned);
    }
#elif defined(SNE_FIRE_THUMB1)
    if (width == 16 && sne_fire_thumb1_can(reset, decay, clamp)) {
        return sne_fire_thumb1(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset,
                               turned);
    }
#elif defined(SNE_FIRE_WORDS)
    if (width == 16 && sne_fire_words_can(reset, decay, clamp)) {
        return sne_fire_words(p, v, drive, positions, bits, first, decay, factor, reset, turned);
    }
#elif defined(SNE_HOST)
    if (width == 16) {
        return sne_fire_host(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset, clamp);
    }
#endif
#if defined(SNE_FIRE_DSP) || defined(SNE_FIRE_THUMB2)
    if (width == 32 && sne_fire_wide_thumb2_can(reset, decay, clamp)) {
        return sne_fire_wide_thumb2(p, (int32_t *)v, (const int32_t *)drive, positions, bits, first, decay, factor, reset);
    }
#endif
#if !defined(SNE_FIRE_HELIUM)
    (void)turned; /* only where sne_fire_turns */
    return sne_fire_portable(p, v, drive, positions, bits, first, width, decay, factor, reset, clamp);
#endif
}

/* sne_fire with its choices made. */
typedef size_t (*sne_fire_function)(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                                    size_t first);

#endif
