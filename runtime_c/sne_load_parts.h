/* What the parts of a blob's check share. */
#ifndef SNE_LOAD_PARTS_H
#define SNE_LOAD_PARTS_H

#include "sne_load_check.h"

/* The blob, and what students before the one in question took of what all share: each has its own behind theirs. */
typedef struct {
    const uint8_t *blob;
    const sne_blob *head;
    const sne_kernels *kernels;
    const sne_blob_stream *stream; /* or null */
    uint64_t arena;                /* words */
    uint64_t kept, graphs, windows; /* words taken of all membranes, of a stream's graphs and of its windows */
    uint64_t made, stream_made;    /* bytes, that graphs need for what is made of the blob: the most of one; of all */
} sne_checked;

#define SNE_MOST_LOGIT ((uint64_t)1 << 30) /* of a logit, signs aside: two of them differ by less than 2^31 */
#define SNE_MOST_SUM 0x7fffffffu
#define SNE_MOST_STATE ((uint64_t)1 << 29) /* of an alpha neuron, two of whose states are subtracted */
#define SNE_MOST_INPUTS ((uint64_t)1 << 24)

/* Do so many bytes lie in the blob, behind its header, from a word on? */
SNE_INLINE int sne_lies(const sne_checked *c, uint32_t offset, uint64_t bytes)
{
    return (offset & 3u) == 0 && offset >= sizeof(sne_blob) && offset <= c->head->length && bytes <= c->head->length - offset;
}

SNE_INLINE const uint16_t *sne_halves_at(const sne_checked *c, uint32_t offset)
{
    return (const uint16_t *)(const void *)(c->blob + offset);
}

SNE_INLINE const int32_t *sne_words_at(const sne_checked *c, uint32_t offset)
{
    return (const int32_t *)(const void *)(c->blob + offset);
}

SNE_INLINE uint64_t sne_size_of(int64_t value)
{
    return (uint64_t)(value < 0 ? -value : value);
}

SNE_INLINE uint64_t sne_words_of(uint64_t bits)
{
    return (bits + 31u) / 32u;
}

SNE_INLINE uint64_t sne_in_words(const sne_blob_synapses *s)
{
    return sne_words_of((uint64_t)s->in_height * s->in_width * s->in_channels);
}

/* Timesteps after which a state is looked at, at the latest; 0: there is no end. */
SNE_INLINE uint64_t sne_steps(const sne_checked *c)
{
    return c->stream ? 0u : c->head->timesteps;
}

/* sne_load_tables.c: synapses, all that kernel SNE_KIND_KERNEL(kind) relies on but its places; their rows have `stride` outputs,
 * of which `channels` count. */
int sne_synapses_fit(const sne_checked *c, const sne_blob_synapses *s, uint32_t kind, uint32_t channels, uint32_t stride);

/* The same of a maximum over windows along one axis: does every window meet the input? */
int sne_windows_fit(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t padding);

/* What a timestep adds to one output at most, signs aside; `values`: inputs are int8, and no spikes. */
uint64_t sne_most_added(const sne_checked *c, const sne_blob_synapses *s, uint32_t kind, int values);

/* How far from 0 a state gets that has at most `added` added in a timestep, and at the start, and then is decayed: SNE_DECAY_SHIFT
 * and SNE_DECAY_Q15 by `factor`; `steps` as of sne_steps; `most`: one more than
 * what it is clamped to, signs aside, or 0. */
uint64_t sne_reach(uint64_t added, uint32_t decay, uint32_t factor, uint64_t steps, uint64_t most);

/* A stage, all that its kernel relies on but its places. `first`: it takes the input; `reached`: how far from 0 its membranes get,
 * at most, within `steps`. */
sne_status sne_stage_fits(const sne_checked *c, const sne_blob_stage *s, int first, uint64_t steps, uint64_t *reached);

/* What a timestep adds to one of a readout's outputs where every input spikes, signs aside; more than SNE_MOST_SUM where that
 * would take too long to find out. */
uint64_t sne_readout_sum(const sne_checked *c, const sne_blob_stage *s, uint32_t output);

/* sne_load_places.c: a stage's places through all timesteps; `first`: its input lies outside, unless it is encoded. Those of a
 * student that may end early, timestep by timestep. And those of a student's membranes among all, and in a stream. */
int sne_places_fit(const sne_checked *c, const sne_blob_stage *s, int first);
int sne_steps_fit(const sne_checked *c, const sne_blob_student *student, const sne_blob_stage *stages);
int sne_kept_fit(sne_checked *c, const sne_blob_student *student, const sne_blob_stage *stages);

#endif
