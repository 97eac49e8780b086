/* Two int16 neurons that share a word: what happens to them when one or both fire. */
#ifndef SNE_FIRE_PAIR_H
#define SNE_FIRE_PAIR_H

#include "sne_neuron.h"

/* Where spikes go: bits, the index of the position's first neuron, and how many there were. */
typedef struct {
    uint32_t *bits;
    size_t first, n;
} sne_spikes;

/* Fire and reset the membranes in `m`, those of channels c and c + 1. Spikes are rare, so this is out of line, and leaves
 * its callers the registers. */
SNE_OUTLINE uint32_t sne_fire_pair(sne_spikes *spikes, uint32_t m, uint32_t threshold, size_t c, int reset)
{
    int32_t low = (int16_t)(uint16_t)m, high = (int32_t)m >> 16;
    const int32_t low_threshold = (int16_t)(uint16_t)threshold, high_threshold = (int32_t)threshold >> 16;
    if (low > low_threshold) {
        sne_set_bit(spikes->bits, spikes->first + c);
        spikes->n++;
        low = reset == SNE_RESET_ZERO ? 0 : low - low_threshold;
    }
    if (high > high_threshold) {
        sne_set_bit(spikes->bits, spikes->first + c + 1);
        spikes->n++;
        high = reset == SNE_RESET_ZERO ? 0 : high - high_threshold;
    }
    return ((uint32_t)low & 0xffffu) | (uint32_t)high << 16;
}

#endif
