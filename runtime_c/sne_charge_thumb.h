/* Charging fresh membranes in the assembler that all Thumb cores share: four words at a time. */
#ifndef SNE_CHARGE_THUMB_H
#define SNE_CHARGE_THUMB_H

#include "sne_core.h"

/* to[i] = from[i] ^ signs, for i < words; `turned`, a constant, says whether `signs` is not 0.
 *
 * Reads   `words` words at `from`
 * Writes  as many at `to`
 * Holds   words is even, both lie at words
 * Uses    r2 to r5, and three low registers of the compiler's choice */
SNE_INLINE void sne_charge_thumb(sne_word *to, const sne_word *from, size_t words, uint32_t signs, int turned)
{
    for (; words >= 4u; words -= 4u) {
        __asm__ volatile(
            ".syntax unified\n"
            "ldmia %[from]!, {r2, r3, r4, r5}\n"
            ".if %c[turned]\n"
            "eors r2, %[signs]\n"
            "eors r3, %[signs]\n"
            "eors r4, %[signs]\n"
            "eors r5, %[signs]\n"
            ".endif\n"
            "stmia %[to]!, {r2, r3, r4, r5}\n"
            : [from] "+l"(from), [to] "+l"(to)
            : [signs] "l"(signs), [turned] "i"(turned)
            : "r2", "r3", "r4", "r5", "cc", "memory");
    }
    for (; words; words -= 2u, from += 2, to += 2) {
        const uint32_t a = from[0], b = from[1];
        to[0] = a ^ signs;
        to[1] = b ^ signs;
    }
}

#endif
