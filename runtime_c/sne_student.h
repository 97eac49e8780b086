/* A student: its layers in order, through a whole buffered input or one timestep of a stream. */
#ifndef SNE_STUDENT_H
#define SNE_STUDENT_H

#include "sne_kernels.h"

/* For who counts by layer: around each layer, or population, and once a timestep where they run step by step. */
#ifndef SNE_LAYER_BEGINS
#define SNE_LAYER_BEGINS(layer) ((void)0)
#define SNE_LAYER_ENDS(layer) ((void)0)
#endif

/* One layer and its memory. Places are words from the start of the arena, `kept` from that of the kept membranes. */
typedef struct {
    uint32_t (*run)(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost);
    const void *layer;          /* sne_synapses or sne_pooling */
    const sne_neurons *neurons; /* null for pooling */
    uint32_t in, out, membranes, current, rows, kept;
    int32_t spikes;             /* index of its spike count, or -1 */
} sne_stage;

typedef struct {
    const sne_stage *stages;
    uint32_t n_stages;
    uint32_t updates; /* neurons */
} sne_layers;

/* A buffered input. `input`: what the first layer takes, null where it lies in the arena; `kept`: memory for all
 * membranes, or null. */
SNE_INLINE void sne_run_layers(const sne_layers *p, const void *input, uint32_t *arena, uint32_t *kept, uint32_t *spikes,
                               uint32_t timesteps, sne_cost *cost)
{
    const sne_stage *stage = p->stages, *const end = stage + p->n_stages;
    for (; stage != end; stage++) {
        sne_job job;
        uint32_t fired;
        job.in = input ? (const uint32_t *)input : arena + stage->in;
        job.x = (const int8_t *)input;
        job.out = arena + stage->out;
        job.membranes = kept ? kept + stage->kept : arena + stage->membranes;
        job.current = arena + stage->current;
        job.rows = arena + stage->rows;
        job.timesteps = timesteps;
        job.spread = kept != NULL;
        job.fresh = 1;
        SNE_LAYER_BEGINS(stage);
        fired = stage->run(stage->layer, stage->neurons, &job, cost);
        SNE_LAYER_ENDS(stage);
        if (stage->spikes >= 0) {
            spikes[stage->spikes] += fired;
        }
        input = NULL;
    }
    cost->neuron_updates += timesteps * p->updates;
}

/* What steps of one timestep need beside their input: two maps of `map_words` for spikes between layers, rows, and the
 * membranes, of which those of the first layer in question lie at `first` words by `sne_stage`. */
typedef struct {
    uint32_t *maps, *rows, *kept;
    uint32_t map_words, first;
} sne_room;

/* One timestep. */
SNE_INLINE void sne_step_layers(const sne_layers *p, const uint32_t *in, const sne_room *room, uint32_t *spikes,
                                sne_cost *cost)
{
    const sne_stage *stage = p->stages, *const end = stage + p->n_stages;
    for (; stage != end; stage++) {
        sne_job job;
        uint32_t fired;
        job.in = in;
        job.x = NULL;
        job.out = in == room->maps ? room->maps + room->map_words : room->maps;
        job.membranes = room->kept + (stage->kept - room->first);
        job.current = NULL;
        job.rows = room->rows;
        job.timesteps = 1;
        job.spread = 1;
        job.fresh = 0;
        SNE_LAYER_BEGINS(stage);
        fired = stage->run(stage->layer, stage->neurons, &job, cost);
        SNE_LAYER_ENDS(stage);
        if (stage->spikes >= 0) {
            spikes[stage->spikes] += fired;
        }
        in = job.out;
    }
    cost->neuron_updates += p->updates;
}

/* All membranes as they are before the first timestep; `width` of a stage's comes from its neurons. */
SNE_INLINE void sne_rest_layers(const sne_layers *p, const sne_room *room)
{
    const sne_stage *stage = p->stages, *const end = stage + p->n_stages;
    for (; stage != end; stage++) {
        const sne_neurons *q = stage->neurons;
        const sne_synapses *synapses = (const sne_synapses *)stage->layer;
        uint32_t i;
        for (i = 0; q && i < (uint32_t)synapses->out_height * synapses->out_width; i++) {
            void *v = sne_at(room->kept + (stage->kept - room->first), (size_t)i * q->stride, (int)q->width);
            if (stage->spikes < 0) {
                sne_rest(v, q->stride, (int)q->width);
            } else {
                sne_charge_fresh(v, q->bias, q->stride, (int)q->width, 0);
            }
        }
    }
}

/* The window of a readout whose `n` membranes of `width` bits are sums over the last `length` timesteps: what each of
 * these brought, in a ring behind the place of the oldest. It is all zero at first. Before a timestep the oldest one's part
 * is taken off and the membranes noted; after it, the difference is what this one brought. */
SNE_INLINE void sne_forget(uint32_t *ring, void *v, size_t n, int width, uint32_t length)
{
    const size_t oldest = (size_t)*ring * n;
    size_t c;
    (void)length;
    for (c = 0; c < n; c++) {
        const int32_t left = sne_get(v, c, width) - sne_get(ring + 1, oldest + c, width);
        sne_put(v, c, left, width);
        sne_put(ring + 1, oldest + c, left, width);
    }
}

SNE_INLINE void sne_remember(uint32_t *ring, const void *v, size_t n, int width, uint32_t length)
{
    const size_t newest = (size_t)*ring * n;
    size_t c;
    for (c = 0; c < n; c++) {
        sne_put(ring + 1, newest + c, sne_get(v, c, width) - sne_get(ring + 1, newest + c, width), width);
    }
    *ring = *ring + 1u < length ? *ring + 1u : 0u;
}

/* Layers timestep by timestep, on maps of `in_words` each, until the margin of `n` logits suffices or `timesteps` are
 * over: see sne_policy.early. `before`: n words. Returns how many it took. */
SNE_INLINE uint32_t sne_run_until(const sne_layers *p, const uint32_t *in, size_t in_words, const sne_room *room,
                                  uint32_t *spikes, uint32_t timesteps, const int32_t *early,
                                  void (*head)(const uint32_t *readout, int32_t *logits), int32_t *logits,
                                  int32_t *before, size_t n, sne_cost *cost)
{
    const uint32_t *readout = room->kept + (p->stages[p->n_stages - 1u].kept - room->first);
    sne_result now;
    uint32_t t = 0;
    size_t c;
    for (c = 0; c < n; c++) {
        before[c] = logits[c];
    }
    sne_rest_layers(p, room);
    do {
        sne_step_layers(p, in + t * in_words, room, spikes, cost);
        for (c = 0; c < n; c++) {
            logits[c] = before[c];
        }
        head(readout, logits);
        sne_decide(logits, n, &now);
        t++;
    } while (t < timesteps && now.margin < early[t - 1u]);
    return t;
}

/* A student's part of the logits. */
SNE_INLINE void sne_head(int32_t *logits, const void *readout, const int32_t *gain, const int32_t *bias, size_t n,
                         int width)
{
    size_t c;
    for (c = 0; c < n; c++) {
        logits[c] += bias[c] + gain[c] * sne_get(readout, c, width);
    }
}

#endif
