/* Firing: the end of a timestep, once for every neuron. As with accumulation, the compiler's features choose. */
#ifndef SNE_FIRE_H
#define SNE_FIRE_H

#include "sne_neuron.h"

#if defined(__ARM_FEATURE_MVE)
#include "sne_fire_helium.h"
#elif defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 2 && !defined(__ARM_BIG_ENDIAN)
#include "sne_fire_thumb2.h"
#define SNE_FIRE_THUMB2
#elif defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1 && !defined(__ARM_BIG_ENDIAN)
#include "sne_fire_swar.h"
#define SNE_FIRE_SWAR
#endif

/* Fire, reset, clamp, charge for the next timestep, for `positions` whole positions. Sets the bits, from `first` on, of
 * the neurons that fired, and returns their number. Bits from `first` on must be 0, bits before are left. `v` is [positions][stride], at a
 * multiple of four bytes; `drive`, one position's bias or constant current, is [stride]; `factor` the shift or q15 of the
 * decay. */
SNE_INLINE size_t sne_fire(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                           size_t first, int width, int decay, int32_t factor, int reset, int clamp)
{
#if defined(__ARM_FEATURE_MVE)
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
#endif
    return sne_fire_portable(p, v, drive, positions, bits, first, width, decay, factor, reset, clamp);
}

#endif
