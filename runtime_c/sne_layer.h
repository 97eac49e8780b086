/* A layer through all timesteps, tile by tile, with the kernel that it was given. */
#ifndef SNE_LAYER_H
#define SNE_LAYER_H

#include "sne.h"
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
    const int can = SNE_TURNED_DRIVE ? kernel == SNE_SCATTER : kernel == SNE_GATHER || kernel == SNE_MAC;
    return can && weight_bits == 8 && sne_fire_turns(width, decay, factor, reset, clamp);
}

/* What a layer's code is made for: constants of the caller's, but for `factor` where it is a q15. */
typedef struct {
    int kernel;      /* SNE_SHIFTED may be beside it */
    int weight_bits; /* 8 or, but for a direct input, 4 */
    int width, decay;
    int32_t factor;
    int reset, clamp;
} sne_kind;

/* A layer through all timesteps; `p` is the start of an sne_direct where the kernel is SNE_SHIFTED; `fire` and `kind` are constants of the caller's, and a readout has no `fire`. Returns
 * the spikes made, and adds the work done to `cost`. */
SNE_INLINE uint32_t sne_layer(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost,
                              sne_fire_function fire, sne_kind kind)
{
    const int kernel = kind.kernel & (SNE_SHIFTED - 1), shifted = kind.kernel & SNE_SHIFTED, weight_bits = kind.weight_bits, width = kind.width, decay = kind.decay;
    const int reset = kind.reset, clamp = kind.clamp;
    const int32_t factor = kind.factor;
    const int readout = fire == NULL;
    const int turned = !readout && sne_turned(kernel, weight_bits, width, decay, factor, reset, clamp);
    const size_t stride = q->stride, channels = q->channels;
    const int scatter = kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    const int whole_row = scatter || kernel == SNE_SWEEP;
    const uint32_t positions = whole_row ? p->out_width : 1u, across = whole_row ? 1u : p->out_width;
    const size_t in_words = sne_words((size_t)p->in_height * p->in_width * p->in_channels);
    const size_t out_words = readout ? 0u : sne_words((size_t)p->out_height * p->out_width * channels);
    const int at_once = kernel == SNE_MAC && !readout && sne_fire_has_steps(width, decay, reset, clamp) && channels % 8u == 0 && !job->spread;
    const int has_last = !readout && sne_fire_has_last(width);
    void *v = job->membranes;
    uint32_t y, x, i, t, rows = 0, fired = 0;
    size_t first = 0;
    sne_route route;
#if defined(SNE_FIRE_HELIUM)
    if ((kernel == SNE_GATHER || kernel == SNE_SWEEP) && !readout && width == 16 && weight_bits == 8 && !clamp) {
        const uint32_t room = sne_window_room(p, q);
        if (room) {
            return sne_window_helium(p, q, job, cost, room, decay, factor, reset);
        }
    }
#endif
#if defined(SNE_BY_OUTPUT)
    if (kernel == SNE_MAC) {
        const uint32_t shift = shifted ? ((const sne_direct *)(const void *)p)->shift : 0u;
        return sne_direct_helium(p, q, job, cost, fire, shift, width, decay, factor, reset, clamp);
    }
#endif
    if (scatter) {
        sne_plan(p, stride, width, weight_bits, kernel, (sne_reach *)(void *)job->rows, &route);
    }
    if (turned && SNE_TURNED_DRIVE) {
        sne_turned_drive(job->rows + p->capacity - stride / 2u, q->bias, stride, decay, factor);
    }
    sne_clear(job->out, job->timesteps * out_words);
    for (y = 0; y < p->out_height; y++) {
        for (x = 0; x < across; x++) {
            const uint32_t *in = job->in;
            uint32_t *out = job->out;
            const void *drive = q->bias;
            sne_view view;
            if (kernel == SNE_GATHER) {
                sne_look(p, sne_pitch(stride, weight_bits), y, x, &view);
            }
            if (kernel == SNE_MAC) {
                void *const sums = shifted ? sne_at(job->current, stride, width) : job->current;
                sne_look(p, 1, y, x, &view);
                sne_charge_fresh(sums, q->bias, stride, shifted ? 32 : width, 0);
                rows += sne_gather_mac(p, &view, job->x, sums, stride, job->rows, shifted ? 32 : width);
                if (shifted) {
                    const sne_direct *const direct = (const sne_direct *)(const void *)p;
                    sne_shift_current(job->current, (const int32_t *)sums, stride, direct->shift, width);
                }
                drive = job->current;
                if (at_once) {
                    sne_fire_steps(q, drive, job->timesteps, out, out_words, first, decay, factor, reset);
                    first += channels;
                    continue;
                }
            }
            for (i = 0; job->fresh && i < positions; i++) {
                if (readout) {
                    sne_rest(v, stride, width);
                } else {
                    sne_charge_fresh(sne_at(v, i * stride, width), drive, stride, width, turned);
                }
            }
            if (turned && !job->fresh) {
                sne_turn(v, positions * stride);
            }
            if (turned && SNE_TURNED_DRIVE) {
                drive = job->rows + p->capacity - stride / 2u;
            }
            for (t = 0; t < job->timesteps; t++) {
                if (readout) {
                    sne_leak(q, v, drive, width, decay, factor);
                }
                if (kernel == SNE_GATHER) {
                    rows += sne_gather(p, &view, in, v, stride, job->rows, p->capacity, width, weight_bits,
                                       turned);
                } else if (kernel == SNE_SWEEP) {
                    rows += sne_sweep(p, y, in, v, stride, job->rows, width, weight_bits);
                } else if (scatter) {
                    rows += sne_scatter(p, &route, y, in, v, width, weight_bits, kernel, turned);
                } else if (kernel == SNE_COLLECT) {
                    rows += sne_collect(p, in, v, stride, job->rows, width, weight_bits);
                }
                if (has_last && !job->spread && t + 1u == job->timesteps) {
                    fired += (uint32_t)sne_fire_last(q, v, positions, out, first, turned);
                } else if (!readout) {
                    fired += (uint32_t)fire(q, v, drive, positions, out, first);
                } else if (clamp) {
                    sne_clamp(q, v, width);
                }
                in += in_words;
                out += out_words;
            }
            first += positions * channels;
            if (job->spread) {
                if (turned) {
                    sne_turn(v, positions * stride);
                }
                v = sne_at(v, positions * stride, width);
            }
        }
    }
    if (at_once) {
        fired = sne_count_bits(job->out, job->timesteps * out_words);
    }
    if (kernel == SNE_MAC) {
        cost->macs += rows * (uint32_t)channels;
    } else {
        cost->synaptic_ops += kernel == SNE_DEPTHWISE ? rows : rows * (uint32_t)channels;
    }
    return fired;
}

#endif
