/* What the parts that run a loaded model share: where its students lie in the blob, and their memory in a state. */
#ifndef SNE_LOAD_RUN_H
#define SNE_LOAD_RUN_H

#include "sne_load_parts.h"
#include "sne_student.h"

/* Compiled with SNE_TRACE, a state keeps all membranes, behind logits and spike counts, for verification. */
#ifdef SNE_TRACE
#define SNE_LOAD_TRACED 1u
#else
#define SNE_LOAD_TRACED 0u
#endif

/* What sne_run hands its students for an input. */
typedef struct {
    const sne_loaded *loaded;
    const void *input;
} sne_call;

/* A stream's memory, but for logits and spike counts. */
typedef struct {
    uint32_t *kept, *graphs, *windows, *in, *maps, *rows;
    uint8_t *made; /* graphs', one behind the other */
    uint32_t map_words;
} sne_stream_room;

/* What checks and runs graphs (sne_load_graph.c). `run` is a student's run_early, or its run where `early` is null. A stream's
 * functions move `made` on to the next graph's. */
struct sne_graph_loader {
    sne_status (*check)(sne_checked *c, const sne_blob_student *student, uint64_t *logit);
    uint32_t (*run)(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps,
                    const int32_t *early, int32_t *logits, sne_cost *cost);
    void (*reset)(const sne_loaded *loaded, const sne_blob_student *student, sne_stream_room *at);
    void (*step)(const sne_loaded *loaded, const sne_blob_student *student, const int8_t *values, sne_stream_room *at,
                 uint32_t *spikes, sne_cost *cost);
    void (*read)(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at, int32_t *logits);
};

SNE_INLINE const sne_blob *sne_head_of(const sne_loaded *loaded)
{
    return (const sne_blob *)(const void *)loaded->blob;
}

SNE_INLINE const sne_blob_student *sne_student_of(const sne_loaded *loaded, uint32_t number)
{
    return (const sne_blob_student *)(const void *)(loaded->blob + sne_head_of(loaded)->students) + number;
}

SNE_INLINE const sne_blob_stream *sne_stream_of(const sne_loaded *loaded)
{
    return (const sne_blob_stream *)(const void *)(loaded->blob + sne_head_of(loaded)->stream);
}

/* All membranes, where they are kept; otherwise null. */
SNE_INLINE uint32_t *sne_kept_of(const sne_loaded *loaded, void *state)
{
    return SNE_LOAD_TRACED ? (uint32_t *)state + sne_head_words(sne_head_of(loaded)) : NULL;
}

SNE_INLINE uint32_t *sne_arena_of(const sne_loaded *loaded, void *state)
{
    const sne_blob *const head = sne_head_of(loaded);
    return (uint32_t *)state + sne_head_words(head) + SNE_LOAD_TRACED * head->kept_words;
}

/* Words of a stream's state, but for what is made of the blob. */
SNE_INLINE uint32_t sne_stream_words(const sne_loaded *loaded)
{
    const sne_blob *const head = sne_head_of(loaded);
    const sne_blob_stream *const s = sne_stream_of(loaded);
    return sne_head_words(head) + head->kept_words + s->graphs + s->windows + s->in + 2u * s->map_words + s->rows;
}

/* A student's part of the logits. */
SNE_INLINE void sne_head_loaded(const sne_loaded *loaded, const sne_blob_student *student, const void *readout, int width,
                                int32_t *logits)
{
    sne_head(logits, readout, (const int32_t *)(const void *)(loaded->blob + student->gain),
             (const int32_t *)(const void *)(loaded->blob + student->bias), loaded->model.n_classes, width);
}

SNE_INLINE void sne_make_axes(const uint8_t *blob, const sne_blob_synapses *from, sne_axis *rows, sne_axis *columns)
{
    rows->start = (const sne_start *)(const void *)(blob + from->row_start);
    rows->pairs = (const sne_pair *)(const void *)(blob + from->row_pairs);
    columns->start = (const sne_start *)(const void *)(blob + from->column_start);
    columns->pairs = (const sne_pair *)(const void *)(blob + from->column_pairs);
}

SNE_INLINE void sne_make_synapses(const uint8_t *blob, const sne_blob_synapses *from, sne_synapses *to)
{
    const sne_divider divide = {from->multiplier, from->shift, from->divisor};
    to->weight = (const sne_weight *)(blob + from->weight);
    sne_make_axes(blob, from, &to->rows, &to->columns);
    to->divide = divide;
    to->in_height = from->in_height;
    to->in_width = from->in_width;
    to->in_channels = from->in_channels;
    to->out_height = from->out_height;
    to->out_width = from->out_width;
    to->kernel_height = from->kernel_height;
    to->kernel_width = from->kernel_width;
    to->stride_height = from->stride_height;
    to->stride_width = from->stride_width;
    to->padding_height = from->padding_height;
    to->padding_width = from->padding_width;
    to->capacity = from->capacity;
}

SNE_INLINE void sne_make_pooling(const uint8_t *blob, const sne_blob_synapses *from, sne_pooling *to)
{
    const sne_divider divide = {from->multiplier, from->shift, from->divisor};
    sne_make_axes(blob, from, &to->rows, &to->columns);
    to->divide = divide;
    to->in_height = from->in_height;
    to->in_width = from->in_width;
    to->out_height = from->out_height;
    to->out_width = from->out_width;
}

/* sne_load_chain.c: a student that is a chain of layers. */
void sne_run_chain(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps, int32_t *logits,
                   sne_cost *cost);
uint32_t sne_run_chain_early(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps,
                             const int32_t *early, int32_t *logits, sne_cost *cost);
void sne_reset_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at);
void sne_step_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at, uint32_t *spikes,
                    sne_cost *cost);
void sne_read_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at, int32_t *logits);

#endif
