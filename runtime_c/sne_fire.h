/* Firing: the end of a timestep, once for every neuron. As with accumulation, the compiler's features choose. */
#ifndef SNE_FIRE_H
#define SNE_FIRE_H

#include "sne_neuron.h"

#if defined(__ARM_FEATURE_MVE)
#include "sne_fire_helium.h"
#elif defined(__ARM_FEATURE_SIMD32)
#include "sne_fire_dsp.h"
#endif

/* Fire, reset, clamp, charge for the next timestep. Writes the indices of the neurons that fired to `events`, ascending,
 * and returns their number. `current` is [positions * channels], or null for the bias; `factor` the shift or q15 of
 * the decay. */
SNE_INLINE size_t sne_fire(const sne_neurons *p, void *v, const void *current, uint16_t *events, int width, int decay,
                           int32_t factor, int reset, int clamp)
{
#if defined(__ARM_FEATURE_MVE)
    if (width == 16) {
        return sne_fire_helium(p, (int16_t *)v, (const int16_t *)current, events, decay, factor, reset, clamp);
    }
#elif defined(__ARM_FEATURE_SIMD32)
    if (width == 16 && sne_fire_dsp_can(decay, factor, reset, clamp)) {
        return sne_fire_dsp(p, (int16_t *)v, (const int16_t *)current, events, decay, factor, reset);
    }
#endif
    return sne_fire_portable(p, v, current, events, width, decay, factor, reset, clamp);
}

#endif
