/* The DSP extension's instructions on two int16 lanes a word (Cortex-M4, M7, M33). */
#ifndef SNE_DSP_H
#define SNE_DSP_H

#include <stdint.h>

#include "sne_core.h"

/* Lanes of `sum` plus bytes 0 and 2 of `w`. */
SNE_INLINE uint32_t sne_add_even(uint32_t sum, uint32_t w)
{
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(w));
    return result;
}

/* Lanes of `sum` plus bytes 1 and 3 of `w`. */
SNE_INLINE uint32_t sne_add_odd(uint32_t sum, uint32_t w)
{
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(w));
    return result;
}

/* Bytes 0 and 2 of `w` as signed lanes. */
SNE_INLINE uint32_t sne_even_bytes(uint32_t w)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(w));
    return result;
}

/* Bytes 1 and 3 of `w` as signed lanes. */
SNE_INLINE uint32_t sne_odd_bytes(uint32_t w)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(w));
    return result;
}

/* sum + the product of the low lanes + that of the high lanes. */
SNE_INLINE uint32_t sne_dual_mac(uint32_t sum, uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* These cores load words at any address; the builtin is one instruction even in freestanding code. */
SNE_INLINE uint32_t sne_load_word(const void *p)
{
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

/* a + b by lane. */
SNE_INLINE uint32_t sne_add_lanes(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

/* 1 for each byte of `w` that is 0. */
SNE_INLINE uint32_t sne_zero_bytes(uint32_t w)
{
    uint32_t result;
    __asm__("uqsub8 %0, %1, %2" : "=r"(result) : "r"(0x01010101u), "r"(w));
    return result;
}

/* The sum of four unsigned bytes. */
SNE_INLINE uint32_t sne_sum_bytes(uint32_t w)
{
    uint32_t result;
    __asm__("usad8 %0, %1, %2" : "=r"(result) : "r"(w), "r"(0));
    return result;
}

/* a - b by byte. */
SNE_INLINE uint32_t sne_sub_bytes(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("usub8 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

#endif
