/* Integer neurons: the arithmetic of one timestep, restated from sne_edge/ir/neuron.py.
 *
 * Every function is inlined into a generated caller that passes `width`, `decay`, `reset`, `clamp` and a decay's shift
 * (`factor`) as constants, so each combination a model uses becomes one tight loop and no other is compiled.
 * The state kept between timesteps is the charged membrane: decayed, with the bias (or constant current) added. */
#ifndef SNE_NEURON_H
#define SNE_NEURON_H

#include <stddef.h>
#include <stdint.h>

#include "sne_core.h"

#if !defined(__GNUC__)
#include <string.h>
#endif

/* No table compiles whose numbers do not fit their fields, however the model is built. */
#if defined(__clang__)
#pragma clang diagnostic error "-Wconstant-conversion"
#elif defined(__GNUC__)
#pragma GCC diagnostic error "-Woverflow"
#endif

/* The decay floors: a negative number must shift arithmetically. */
typedef char sne_assert_arithmetic_shift[((-1 >> 1) == -1) ? 1 : -1];

enum { SNE_DECAY_NONE, SNE_DECAY_SHIFT, SNE_DECAY_Q15 };
enum { SNE_RESET_SUBTRACT, SNE_RESET_ZERO, SNE_RESET_DELAYED }; /* delayed: subtracts one timestep later */

/* Parameters of a layer's neurons; a layer is positions x channels neurons, channels innermost. Arrays are of the
 * membrane's width. A position has `stride` membranes, channels rounded up to a multiple of four; the ones beyond have
 * no weights, no bias and the highest threshold, so they stay 0. */
typedef struct {
    const void *threshold; /* [stride] */
    const void *bias;      /* [stride] */
    int32_t clamp_low;
    int32_t clamp_high;
    uint16_t channels;
    uint16_t stride;
    uint16_t decay;        /* factor in q15; a shift is a constant of the caller's */
    uint16_t width;
} sne_neurons;

/* Membranes are int16_t or int32_t; `width` says which.
 *
 * Comments that start with @ are contracts: what holds before and after a call. tests/proofs proves them, for one width at a
 * time: sne_lane is its type, and sne_room(a, n) says that `a` has room for n weights. */
/*@ requires width == SNE_LANE_BITS;
    requires \valid_read((sne_lane *)array + i);
    assigns \nothing;
    ensures \result == ((sne_lane *)array)[i]; */
SNE_INLINE int32_t sne_get(const void *array, size_t i, int width)
{
#if defined(__GNUC__)
    return width == 16 ? ((const sne_half *)array)[i] : ((const int32_t *)array)[i];
#else
    int16_t half;
    if (width == 32) {
        return ((const int32_t *)array)[i];
    }
    memcpy(&half, (const int16_t *)array + i, sizeof half);
    return half;
#endif
}

/*@ requires width == SNE_LANE_BITS;
    requires \valid((sne_lane *)array + i);
    requires SNE_LANE_MIN <= value <= SNE_LANE_MAX;
    assigns ((sne_lane *)array)[i];
    ensures ((sne_lane *)array)[i] == value; */
SNE_INLINE void sne_put(void *array, size_t i, int32_t value, int width)
{
    if (width == 32) {
        ((int32_t *)array)[i] = value;
    } else {
        const int16_t half = (int16_t)value;
#if defined(__GNUC__)
        ((sne_half *)array)[i] = half;
#else
        memcpy((int16_t *)array + i, &half, sizeof half);
#endif
    }
}

SNE_INLINE void *sne_at(void *array, size_t i, int width)
{
    return width == 16 ? (void *)((int16_t *)array + i) : (void *)((int32_t *)array + i);
}

SNE_INLINE int32_t sne_decayed(int32_t v, int32_t value, int decay, int width)
{
    if (decay == SNE_DECAY_SHIFT) {
        return v - (v >> value);
    }
    if (decay == SNE_DECAY_Q15) {
        return width == 16 ? (v * value) >> 15 : (int32_t)(((int64_t)v * value) >> 15);
    }
    return v;
}

SNE_INLINE int32_t sne_clamped(int32_t v, const sne_neurons *p, int clamp)
{
    if (clamp && v < p->clamp_low) {
        return p->clamp_low;
    }
    if (clamp && v > p->clamp_high) {
        return p->clamp_high;
    }
    return v;
}

/* Charge the fresh membranes of one position: v = drive (its constant current, or the bias). sne_charge_fresh (sne_fire.h) in
 * portable C. */
SNE_INLINE void sne_charge_portable(void *v, const void *drive, size_t stride, int width)
{
    size_t c;
    for (c = 0; c < stride; c++) {
        sne_put(v, c, sne_get(drive, c, width), width);
    }
}

/* The membranes of one position at rest: those of a readout, which is charged as a timestep begins. */
SNE_INLINE void sne_rest(void *v, size_t stride, int width)
{
    size_t c;
    for (c = 0; c < stride; c++) {
        sne_put(v, c, 0, width);
    }
}

SNE_INLINE void sne_set_bit(uint32_t *bits, size_t i)
{
    bits[i >> 5] |= (uint32_t)1 << (i & 31u);
}

/* How many bits are set in n words. */
SNE_INLINE uint32_t sne_count_bits(const uint32_t *words, size_t n)
{
    uint32_t total = 0;
    for (; n; n--) {
        uint32_t x = *words++;
        x -= (x >> 1) & 0x55555555u;
        x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
        x = (x + (x >> 4)) & 0x0f0f0f0fu;
        total += (x * 0x01010101u) >> 24;
    }
    return total;
}

/* sne_fire in portable C, for every core, width and kind of neuron. */
SNE_INLINE size_t sne_fire_portable(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                                    size_t first, int width, int decay, int32_t factor, int reset, int clamp)
{
    const sne_neurons own = *p; /* read once: for all that a compiler knows, writing 16 bits may change what p points to */
    const sne_neurons *const q = width == 16 ? &own : p;
    const size_t channels = q->channels;
    size_t position, c, n = 0;
    for (position = 0; position < positions; position++, first += channels) {
        for (c = 0; c < channels; c++) {
            const int32_t threshold = sne_get(q->threshold, c, width);
            int32_t m = sne_get(v, c, width);
            const int fired = m > threshold;
            if (fired) {
                sne_set_bit(bits, first + c);
                n++;
                if (reset != SNE_RESET_DELAYED) {
                    m = reset == SNE_RESET_ZERO ? 0 : m - threshold;
                }
            }
            m = sne_decayed(sne_clamped(m, q, clamp), factor, decay, width);
            if (reset == SNE_RESET_DELAYED && fired) {
                m -= threshold;
            }
            sne_put(v, c, m + sne_get(drive, c, width), width);
        }
        v = sne_at(v, q->stride, width);
    }
    return n;
}

/* A readout's timestep, part one: decay and add the bias or the constant current. It never fires. */
SNE_INLINE void sne_leak(const sne_neurons *p, void *v, const void *drive, int width, int decay, int32_t factor)
{
    const size_t stride = p->stride;
    size_t c;
    for (c = 0; c < stride; c++) {
        sne_put(v, c, sne_decayed(sne_get(v, c, width), factor, decay, width) + sne_get(drive, c, width), width);
    }
}

/* A readout's timestep, part two, after the spikes were added. */
SNE_INLINE void sne_clamp(const sne_neurons *p, void *v, int width)
{
    const sne_neurons q = *p;
    size_t c;
    for (c = 0; c < q.channels; c++) {
        sne_put(v, c, sne_clamped(sne_get(v, c, width), &q, 1), width);
    }
}

#endif
