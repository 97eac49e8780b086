/* A layer through all timesteps, tile by tile, with the kernel that it was given. */
#ifndef SNE_LAYER_H
#define SNE_LAYER_H

#include "sne.h"
#include "sne_convolve.h"
#include "sne_fire.h"
#include "sne_gather.h"
#include "sne_pooling.h"
#include "sne_scatter.h"
#include "sne_sweep.h"

#if defined(SNE_FIRE_HELIUM)
#include "sne_window_helium.h"
#endif
#if defined(SNE_BY_OUTPUT)
#include "sne_direct_helium.h"
#endif

/* Do this layer's membranes have turned signs (sne_fire.h) while it works on them? All arguments are constants. */
SNE_INLINE int sne_turned(int kernel, int weight_bits, int width, int decay, int32_t factor, int reset, int clamp)
{
    const int added = kernel == SNE_GATHER || kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const int can = SNE_TURNED_DRIVE ? kernel == SNE_SCATTER : added || (SNE_TURNED_CHAINS && kernel == SNE_SCATTER);
    return can && weight_bits == 8 && sne_fire_turns(width, decay, factor, reset, clamp);
}

/* Where a direct input's layer is: what positions of an output row see, or how these are convolved. */
typedef union {
    sne_view view;
#if defined(SNE_CONVOLVES)
    struct {
        sne_convolution constants;
        int32_t from; /* the next position's first value, in its row of the input */
    } convolution;
#endif
} sne_values;

/* Begin row `y` of outputs; rows come in order. `kernel`, a constant: SNE_MAC or SNE_CONVOLVE. */
SNE_INLINE void sne_begin_values(const sne_synapses *p, const sne_job *job, uint32_t y, sne_values *values, int kernel)
{
#if defined(SNE_CONVOLVES)
    if (kernel == SNE_CONVOLVE) {
        if (y == 0) {
            sne_begin_convolution(p, job->rows, &values->convolution.constants);
        }
        sne_convolve_row(p, job->x, y, &values->convolution.constants);
        values->convolution.from = -(int32_t)((uint32_t)p->padding_width * p->in_channels);
        return;
    }
#endif
    (void)job;
    (void)kernel;
    sne_look_along(p, 1, y, &values->view);
}

/* The constant currents of `n` positions (1, or with SNE_CONVOLVE 2) from `x` on, bias included, to job->current. `shifted`, a
 * constant: `p` is the start of an sne_direct. Returns how many values that they see are not 0. */
SNE_INLINE uint32_t sne_constant_currents(const sne_synapses *p, const sne_job *job, const void *bias, uint32_t x, uint32_t n,
                                          sne_values *values, size_t stride, int width, int kernel, int shifted)
{
    const uint32_t shift = shifted ? ((const sne_direct *)(const void *)p)->shift : 0u;
    uint32_t seen = 0, i;
#if defined(SNE_CONVOLVES)
    if (kernel == SNE_CONVOLVE) {
        int32_t *const sums = (int32_t *)job->current;
        const int32_t from = values->convolution.from;
        const int32_t *base = (const int32_t *)bias;
        size_t j;
        values->convolution.from += 2 * (int32_t)values->convolution.constants.next;
        if (width == 16 && !shifted) {
            for (j = 0; j < stride; j++) {
                sums[j] = sne_get(bias, j, 16);
            }
            base = sums;
        }
        seen = sne_convolve(&values->convolution.constants, base, from, n == 2u, sums, stride);
        if (width == 16 || shifted) { /* in their place */
            sne_shift_current(job->current, sums, 2u * stride, shift, width);
        }
        return seen;
    }
#endif
    for (i = 0; i < n; i++) {
        void *const current = sne_at(job->current, (size_t)i * stride, width);
        void *const sums = shifted ? sne_at(job->current, (kernel == SNE_CONVOLVE ? 2u : 1u) * stride, width) : current;
        sne_look_at(p, 1, x + i, &values->view);
        sne_charge_fresh(sums, bias, stride, shifted ? 32 : width, 0);
        seen += sne_gather_mac(p, &values->view, job->x, sums, stride, job->rows, shifted ? 32 : width);
        if (shifted) {
            sne_shift_current(current, (const int32_t *)sums, stride, shift, width);
        }
    }
    return seen;
}

/* What a layer's code is made for: constants of the caller's, but for `factor` where it is a q15. */
typedef struct {
    int kernel;      /* SNE_SHIFTED may be beside it */
    int weight_bits; /* 8 or, but for a direct input, 4 */
    int width, decay;
    int32_t factor;
    int reset, clamp;
} sne_kind;

/* A layer through all timesteps; `p` is the start of an sne_direct where the kernel is SNE_SHIFTED; `fire` and `kind` are
 * constants of the caller's, and a readout has no `fire`. Returns the spikes made, and adds the work done to `cost`. */
SNE_INLINE uint32_t sne_layer(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost,
                              sne_fire_function fire, sne_kind kind)
{
    const int kernel = kind.kernel & (SNE_SHIFTED - 1), shifted = kind.kernel & SNE_SHIFTED;
    const int weight_bits = kind.weight_bits, width = kind.width, decay = kind.decay;
    const int reset = kind.reset, clamp = kind.clamp;
    const int32_t factor = kind.factor;
    const int readout = fire == NULL;
    const int turned = !readout && sne_turned(kernel, weight_bits, width, decay, factor, reset, clamp);
    const size_t stride = q->stride, channels = q->channels;
    const int scatter = kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    const int whole_row = scatter || kernel == SNE_SWEEP;
    const size_t positions = whole_row ? p->out_width : 1u, across = whole_row ? 1u : p->out_width;
    const int multiplies = kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const uint32_t together = kernel == SNE_CONVOLVE ? 2u : 1u; /* positions whose neurons are taken as those of one */
    const size_t in_words = sne_words((size_t)p->in_height * p->in_width * p->in_channels);
    const size_t out_words = readout ? 0u : sne_words((size_t)p->out_height * p->out_width * channels);
    /* copies, which no store of a kernel's may change */
    const uint32_t timesteps = job->timesteps, *const all_in = job->in;
    uint32_t *const all_out = job->out, *const list = job->rows;
    const int fresh = job->fresh, spread = job->spread;
    const int at_once = multiplies && !readout && sne_fire_has_steps(width, decay, reset, clamp) && channels % 8u == 0 && !spread;
    const int has_last = !readout && sne_fire_has_last(width);
    void *v = job->membranes;
    uint32_t y, x, i, t, rows = 0, fired = 0;
    size_t first = 0;
    sne_route route;
    sne_view view;
    sne_values values;
    sne_neurons two;
#if defined(SNE_FIRE_HELIUM)
    if ((kernel == SNE_GATHER || kernel == SNE_SWEEP) && !readout && width == 16 && weight_bits == 8 && !clamp) {
        const uint32_t room = sne_window_room(p, q);
        if (room) {
            return sne_window_helium(p, q, job, cost, room, decay, factor, reset);
        }
    }
#endif
#if defined(SNE_BY_OUTPUT)
    if (multiplies) {
        const uint32_t shift = shifted ? ((const sne_direct *)(const void *)p)->shift : 0u;
        return sne_direct_helium(p, q, job, cost, fire, shift, width, decay, factor, reset, clamp);
    }
#endif
    if (scatter) {
        sne_plan(p, stride, width, weight_bits, kernel, list, &route);
    }
    if (turned && SNE_TURNED_DRIVE) {
        sne_turned_drive(list + p->capacity - stride / 2u, q->bias, stride, decay, factor);
    }
    sne_clear(all_out, (size_t)timesteps * out_words);
    if (kernel == SNE_CONVOLVE) { /* both share parameters, of which the table has two positions' */
        two.threshold = q->threshold;
        two.bias = q->bias;
        two.clamp_low = q->clamp_low;
        two.clamp_high = q->clamp_high;
        two.channels = (uint16_t)(2u * channels);
        two.stride = (uint16_t)(2u * stride);
        two.decay = q->decay;
        two.width = q->width;
    }
    for (y = 0; y < p->out_height; y++) {
        if (kernel == SNE_GATHER) {
            sne_look_along(p, sne_pitch(stride, weight_bits), y, &view);
        }
        if (multiplies) {
            sne_begin_values(p, job, y, &values, kernel);
        }
        for (x = 0; x < across; x += together) {
            const uint32_t n = x + together > across ? 1u : together;
            const size_t membranes = (size_t)n * positions * stride;
            const sne_neurons *const neurons = n == 1u ? q : &two;
            const uint32_t *in = all_in;
            uint32_t *out = all_out;
            const void *drive = q->bias;
            if (kernel == SNE_GATHER) {
                sne_look_at(p, sne_pitch(stride, weight_bits), x, &view);
            }
            if (multiplies) {
                rows += sne_constant_currents(p, job, q->bias, x, n, &values, stride, width, kernel,
                                              shifted);
                drive = job->current;
                if (at_once) {
                    sne_fire_steps(neurons, drive, timesteps, out, out_words, first, decay, factor, reset);
                    first += (size_t)n * channels;
                    continue;
                }
            }
            for (i = 0; fresh && i < positions; i++) {
                if (readout) {
                    sne_rest(v, stride, width);
                } else {
                    sne_charge_fresh(sne_at(v, (size_t)i * stride, width), drive, (size_t)n * stride, width, turned);
                }
            }
            if (turned && !fresh) {
                sne_turn(v, membranes);
            }
            if (turned && SNE_TURNED_DRIVE) {
                drive = list + p->capacity - stride / 2u;
            }
            for (t = 0; t < timesteps; t++) {
                if (readout) {
                    sne_leak(q, v, drive, width, decay, factor);
                }
                if (kernel == SNE_GATHER) {
                    rows += sne_gather(p, &view, in, v, stride, list, p->capacity, width, weight_bits,
                                       turned);
                } else if (kernel == SNE_SWEEP) {
                    rows += sne_sweep(p, y, in, v, stride, list, width, weight_bits);
                } else if (scatter) {
                    rows += sne_scatter(p, &route, y, in, v, width, weight_bits, kernel, turned);
                } else if (kernel == SNE_COLLECT) {
                    rows += sne_collect(p, in, v, stride, list, width, weight_bits);
                }
                if (has_last && !spread && t + 1u == timesteps) {
                    fired += (uint32_t)sne_fire_last(neurons, v, positions, out, first, turned);
                } else if (!readout) {
                    fired += (uint32_t)fire(neurons, v, drive, positions, out, first);
                } else if (clamp) {
                    sne_clamp(q, v, width);
                }
                in += in_words;
                out += out_words;
            }
            first += (size_t)n * positions * channels;
            if (spread) {
                if (turned) {
                    sne_turn(v, membranes);
                }
                v = sne_at(v, membranes, width);
            }
        }
    }
    if (at_once) {
        fired = sne_count_bits(all_out, (size_t)timesteps * out_words);
    }
    if (multiplies) {
        cost->macs += rows * (uint32_t)channels;
    } else {
        cost->synaptic_ops += kernel == SNE_DEPTHWISE ? rows : rows * (uint32_t)channels;
    }
    return fired;
}

#endif
