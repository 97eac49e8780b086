/* Neurons of a graph's population, all that Cell of sne_edge/ir/graph.py has: what they are, and how they fire. */
#ifndef SNE_CELLS_H
#define SNE_CELLS_H

#include "sne_kernels.h"

/* Neurons. Thresholds and biases are of `neurons.stride` a position, the same for all positions, or `each` has its own;
 * so are tables of leaks, in q15. Biases are of the type of what a timestep's currents are added to. */
typedef struct {
    sne_neurons neurons;
    const uint16_t *leak;         /* null where all neurons have the same */
    const uint16_t *current_leak; /* likewise */
    uint16_t positions;
    uint8_t current_width;        /* bits of a synaptic current; 0: there is none */
    uint8_t each_threshold, each_bias, each_leak, each_current_leak;
} sne_cells;

/* Fires a whole population: `drive` is what charging adds, in the places of `cells->neurons.bias`. `before`: its map of the
 * timestep before, where its ring is that long. `settled`: room for every neuron's membrane, as a decoder sees it, or
 * null. Returns the number of spikes. */
typedef uint32_t (*sne_cells_function)(const sne_cells *cells, void *v, void *current, const void *drive,
                                       const uint32_t *before, uint32_t *bits, int32_t *settled);

/* What makes a population's neurons alpha neurons: `share` in q15, and `drop`. Both are of `neurons.stride` a position, the
 * same for all positions, or `each` has its own. */
typedef struct {
    const uint16_t *share;
    const int32_t *drop;
    uint8_t each_share, each_drop;
} sne_alpha;

enum { SNE_NO_RESET = SNE_RESET_DELAYED + 1, SNE_RESET_ZERO_LATE, SNE_REFRACTORY, SNE_DOUBLED };
/* beside those of sne_neuron.h */

SNE_INLINE int sne_spiked(const uint32_t *bits, size_t n)
{
    return (int)(bits[n >> 5] >> (n & 31u) & 1u);
}

SNE_INLINE int32_t sne_leaked(int32_t v, int decay, int32_t factor, const uint16_t *table, size_t i, int width)
{
    return sne_decayed(v, table ? (int32_t)table[i] : factor, table ? SNE_DECAY_Q15 : decay, width);
}

/* A synaptic current's leak, which rounds towards 0. */
SNE_INLINE int32_t sne_faded(int32_t i, int decay, int32_t factor, const uint16_t *table, size_t at)
{
    const uint32_t most = i < 0 ? 0u - (uint32_t)i : (uint32_t)i;
    uint32_t left = most;
    if (table || decay == SNE_DECAY_Q15) {
        left = (uint32_t)(((uint64_t)most * (table ? table[at] : (uint32_t)factor)) >> 15);
    } else if (decay == SNE_DECAY_SHIFT) {
        left = most - ((most + ((uint32_t)1 << factor) - 1u) >> factor);
    } else {
        return i;
    }
    return i < 0 ? -(int32_t)left : (int32_t)left;
}

/* Any neurons but alpha neurons, in portable C. All but the first seven arguments are constants of the caller's. */
SNE_INLINE uint32_t sne_fire_cells(const sne_cells *p, void *v, void *current, const void *drive, const uint32_t *before,
                                   uint32_t *bits, int32_t *settled, int spiking, int width, int decay, int32_t factor,
                                   int reset, int clamp, int current_width, int current_decay, int32_t current_factor,
                                   int each_drive)
{
    const sne_neurons *const q = &p->neurons;
    const size_t channels = q->channels, stride = q->stride;
    const size_t words = (p->positions * channels + 31u) / 32u; /* of SNE_DOUBLED, behind the spikes: who stayed above */
    size_t position, c, n = 0;
    uint32_t fires = 0;
    for (position = 0; position < p->positions; position++) {
        const size_t first = position * stride;
        for (c = 0; c < channels; c++, n++) {
            const int32_t threshold = spiking ? sne_get(q->threshold, p->each_threshold ? first + c : c, width) : 0;
            const int32_t charge = sne_get(drive, each_drive ? first + c : c, current_width ? current_width : width);
            int32_t m = sne_get(v, first + c, width);
            int fired;
            if (current_width) {
                const int32_t i = sne_get(current, first + c, current_width);
                m += i;
                sne_put(current, first + c,
                        sne_faded(i, current_decay, current_factor, p->current_leak,
                                  p->each_current_leak ? first + c : c) + charge, current_width);
            }
            if (reset == SNE_REFRACTORY && sne_spiked(before, n)) {
                m = 0;
            }
            fired = spiking && m > threshold && (reset != SNE_DOUBLED || !sne_spiked(before + words, n) ||
                                                 m - threshold > threshold);
            if (fired) {
                sne_set_bit(bits, n);
                fires++;
                m = reset == SNE_RESET_SUBTRACT || reset == SNE_DOUBLED ? m - threshold : reset == SNE_RESET_ZERO ? 0 : m;
            }
            m = sne_clamped(m, q, clamp);
            if (reset == SNE_DOUBLED && m > threshold) {
                sne_set_bit(bits + words, n);
            }
            if (settled) {
                settled[n] = m;
            }
            m = sne_leaked(fired && (reset == SNE_RESET_ZERO_LATE || reset == SNE_REFRACTORY) ? 0 : m, decay, factor,
                           p->leak, p->each_leak ? first + c : c, width);
            if (fired && reset == SNE_RESET_DELAYED) {
                m -= threshold;
            }
            sne_put(v, first + c, current_width ? m : m + charge, width);
        }
    }
    return fires;
}

/* Alpha neurons. All but the first eight arguments are constants of the caller's. */
SNE_INLINE uint32_t sne_fire_alpha(const sne_cells *p, void *v, void *current, const void *drive, const uint32_t *before,
                                   uint32_t *bits, int32_t *settled, const sne_alpha *alpha, int spiking, int width,
                                   int decay, int32_t factor, int reset, int current_width, int current_decay,
                                   int32_t current_factor, int each_drive)
{
    const sne_neurons *const q = &p->neurons;
    const size_t channels = q->channels, stride = q->stride;
    size_t position, c, n = 0;
    uint32_t fires = 0;
    for (position = 0; position < p->positions; position++) {
        const size_t first = position * stride;
        for (c = 0; c < channels; c++, n++) {
            const int32_t charge = sne_get(drive, each_drive ? first + c : c, current_width);
            const int held = reset != SNE_NO_RESET && sne_spiked(before, n);
            int32_t m = sne_get(v, first + c, width), i = sne_get(current, first + c, current_width);
            int32_t h = held ? 0 : i - m; /* held, i - m is no state, and need not fit */
            int fired;
            if (held && reset == SNE_REFRACTORY) {
                m = i = 0;
            }
            fired = spiking && m > sne_get(q->threshold, p->each_threshold ? first + c : c, width);
            if (fired) {
                sne_set_bit(bits, n);
                fires++;
            }
            if (settled) {
                settled[n] = m;
            }
            if (fired && reset == SNE_REFRACTORY) {
                m = i = 0;
            } else {
                i = sne_faded(i, current_decay, current_factor, p->current_leak, p->each_current_leak ? first + c : c);
                m = i - sne_faded(h, decay, factor, p->leak, p->each_leak ? first + c : c);
            }
            if (fired && reset == SNE_RESET_DELAYED) {
                m -= sne_faded(h, SNE_DECAY_Q15, 0, alpha->share, alpha->each_share ? first + c : c);
                i -= alpha->drop[alpha->each_drop ? first + c : c];
            }
            sne_put(v, first + c, m, width);
            sne_put(current, first + c, i + charge, current_width);
        }
    }
    return fires;
}

/* Neurons that a core fires by what it has for chains. */
SNE_INLINE uint32_t sne_fire_plain(const sne_cells *p, void *v, const void *drive, uint32_t *bits, int width, int decay,
                                   int32_t factor, int reset, int clamp, int each_drive)
{
    const sne_neurons *const q = &p->neurons;
    size_t position, n = 0;
    if (!each_drive) {
        return (uint32_t)sne_fire(q, v, drive, p->positions, bits, 0, width, decay, factor, reset, clamp, 0);
    }
    for (position = 0; position < p->positions; position++) {
        n += sne_fire(q, v, drive, 1, bits, position * q->channels, width, decay, factor, reset, clamp, 0);
        v = sne_at(v, q->stride, width);
        drive = (const uint8_t *)drive + (size_t)q->stride * ((size_t)width / 8u);
    }
    return (uint32_t)n;
}

#endif
