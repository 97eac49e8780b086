/* Firing: the end of a timestep, once for every neuron. As with accumulation, the compiler's features choose. */
#ifndef SNE_FIRE_H
#define SNE_FIRE_H

#include "sne_neuron.h"

/* Assembler takes decay, shift and reset as constants, and nearly all registers: only an optimising compiler can give both. */
#if defined(__OPTIMIZE__) && defined(__ARM_ARCH_ISA_THUMB) && !defined(__ARM_BIG_ENDIAN)
#if defined(__ARM_FEATURE_MVE)
#include "sne_fire_helium.h"
#define SNE_FIRE_HELIUM
#elif __ARM_ARCH_ISA_THUMB == 2
#include "sne_fire_thumb2.h"
#define SNE_FIRE_THUMB2
#else
#include "sne_fire_swar.h"
#define SNE_FIRE_SWAR
#endif
#elif defined(SNE_HOST)
#include "sne_fire_host.h"
#endif

/* Fire, reset, clamp, charge for the next timestep, for `positions` whole positions. Sets the bits, from `first` on, of
 * the neurons that fired, and returns their number; bits before `first` are left, those from there on must be 0. `v` is
 * [positions][stride], at a multiple of four bytes; `drive`, one position's bias or constant current, is [stride];
 * `factor` the shift or q15 of the decay. */
SNE_INLINE size_t sne_fire(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                           size_t first, int width, int decay, int32_t factor, int reset, int clamp)
{
#if defined(SNE_FIRE_HELIUM)
    if (width == 16) {
        return sne_fire_helium(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset,
                               clamp);
    }
#elif defined(SNE_FIRE_THUMB2)
    if (width == 16 && sne_fire_thumb2_can(reset, clamp)) {
        return sne_fire_thumb2(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset);
    }
#elif defined(SNE_FIRE_SWAR)
    if (width == 16 && sne_fire_swar_can(reset, decay, clamp)) {
        return sne_fire_swar(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset);
    }
#elif defined(SNE_HOST)
    if (width == 16) {
        return sne_fire_host(p, (int16_t *)v, (const int16_t *)drive, positions, bits, first, decay, factor, reset, clamp);
    }
#endif
    return sne_fire_portable(p, v, drive, positions, bits, first, width, decay, factor, reset, clamp);
}

#endif
