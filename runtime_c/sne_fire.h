/* Firing: the end of a timestep, once for every neuron. As with accumulation, the compiler's features choose. */
#ifndef SNE_FIRE_H
#define SNE_FIRE_H

#include "sne_neuron.h"

/* Fire, reset, clamp, charge for the next timestep, for `positions` whole positions. Sets the bits, from `first` on, of
 * the neurons that fired (bits of other neurons are left), and returns their number. `v` is [positions][stride], at a
 * multiple of four bytes; `drive`, one position's bias or constant current, is [stride]; `factor` the shift or q15 of the
 * decay. */
SNE_INLINE size_t sne_fire(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                           size_t first, int width, int decay, int32_t factor, int reset, int clamp)
{
    return sne_fire_portable(p, v, drive, positions, bits, first, width, decay, factor, reset, clamp);
}

#endif
