/* Chains of layers of a loaded model: stages are made of the blob's as they are needed. */
#include "sne_load_run.h"
#include "sne_student.h"

/* A stage, with the layer and the neurons that it points to. */
typedef struct {
    sne_stage stage;
    sne_neurons neurons;
    union {
        sne_direct direct; /* starts with the synapses, for all that have some */
        sne_pooling pooling;
    } layer;
} made;

static void make(const sne_loaded *loaded, const sne_blob_stage *from, made *to)
{
    const uint8_t *const blob = loaded->blob;
    to->stage.run = sne_find_kernel(loaded->kernels, from->kind)->run;
    to->stage.layer = &to->layer;
    to->stage.in = from->in;
    to->stage.out = from->out;
    to->stage.membranes = from->membranes;
    to->stage.current = from->current;
    to->stage.rows = from->rows;
    to->stage.kept = from->kept;
    to->stage.spikes = from->spikes;
    if (SNE_KIND_KERNEL(from->kind) == SNE_MAXPOOL) {
        to->stage.neurons = NULL;
        sne_make_pooling(blob, &from->synapses, &to->layer.pooling);
    } else {
        to->stage.neurons = &to->neurons;
        to->layer.direct.shift = from->current_shift;
        sne_make_synapses(blob, &from->synapses, &to->layer.direct.synapses);
        to->neurons.threshold = blob + from->threshold;
        to->neurons.bias = blob + from->bias;
        to->neurons.clamp_low = from->clamp_low;
        to->neurons.clamp_high = from->clamp_high;
        to->neurons.channels = from->channels;
        to->neurons.stride = from->stride;
        to->neurons.decay = from->decay;
        to->neurons.width = SNE_KIND_WIDE(from->kind) ? 32u : 16u;
    }
}

static const sne_blob_stage *stages_of(const sne_loaded *loaded, const sne_blob_student *student)
{
    return (const sne_blob_stage *)(const void *)(loaded->blob + student->stages);
}

static int width_of(const sne_blob_stage *stage)
{
    return SNE_KIND_WIDE(stage->kind) ? 32 : 16;
}

/* The input as the first stage takes it: null where it lies in the arena. */
static const void *encoded(const sne_loaded *loaded, const sne_blob_stage *first, const void *input, uint32_t timesteps,
                           uint32_t *arena)
{
    const sne_blob *const head = sne_head_of(loaded);
    if (head->encoder != SNE_BLOB_RATE) {
        return input;
    }
    sne_rate_encode((const int8_t *)input, head->n_inputs, head->seed, timesteps, arena + first->in);
    return NULL;
}

void sne_run_chain(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps, int32_t *logits,
                   sne_cost *cost)
{
    const sne_loaded *const loaded = given->loaded;
    const sne_blob_stage *const stages = stages_of(loaded, student);
    const uint32_t last = student->n_stages - 1u;
    uint32_t *const arena = sne_arena_of(loaded, state), *const kept = sne_kept_of(loaded, state);
    uint32_t *const spikes = (uint32_t *)state + loaded->model.n_classes;
    const void *in = encoded(loaded, stages, given->input, timesteps, arena);
    uint32_t i, steps = timesteps;
    made now;
    sne_layers one;
    one.stages = &now.stage;
    one.n_stages = 1;
    one.updates = 0;
    for (i = 0; i <= last; i++) {
        make(loaded, stages + i, &now);
        if (i == last && student->window && student->window < timesteps) { /* a readout that sees the last ones alone */
            const sne_synapses *const p = &now.layer.direct.synapses;
            const uint32_t passed = (timesteps - student->window) * (uint32_t)sne_words((uint32_t)p->in_height * p->in_width * p->in_channels);
            in = in ? (const uint32_t *)in + passed : NULL;
            now.stage.in += passed;
            steps = student->window;
        }
        sne_run_layers(&one, in, arena, kept, spikes, steps, cost);
        in = NULL;
    }
    cost->neuron_updates += timesteps * student->updates;
    sne_head_loaded(loaded, student, kept ? kept + stages[last].kept : arena + stages[last].membranes, width_of(stages + last), logits);
}

uint32_t sne_run_chain_early(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps,
                             const int32_t *early, int32_t *logits, sne_cost *cost)
{
    const sne_loaded *const loaded = given->loaded;
    const sne_blob_stage *const stages = stages_of(loaded, student);
    const uint32_t last = student->n_stages - 1u, n = loaded->model.n_classes;
    const int direct = sne_head_of(loaded)->encoder == SNE_BLOB_DIRECT;
    uint32_t *const arena = sne_arena_of(loaded, state), *const spikes = (uint32_t *)state + n, *const kept = sne_kept_of(loaded, state);
    const void *whole = encoded(loaded, stages, given->input, timesteps, arena);
    const uint32_t *in;
    sne_room room;
    made now;
    sne_layers one;
    sne_result told;
    uint32_t t = 0, i, c;
    const int32_t *const gain = (const int32_t *)(const void *)(loaded->blob + student->gain);
    const int32_t *const bias = (const int32_t *)(const void *)(loaded->blob + student->bias);
    const int width = width_of(stages + last);
    const uint32_t *readout;
    one.stages = &now.stage;
    one.n_stages = 1;
    room.maps = arena + student->maps;
    room.rows = arena + student->rows;
    room.kept = kept ? kept : arena + student->kept;
    room.map_words = student->map_words;
    room.first = kept ? 0u : student->first;
    readout = room.kept + (stages[last].kept - room.first);
    if (direct) { /* the first layer through all timesteps */
        make(loaded, stages, &now);
        one.updates = student->whole_updates;
        sne_run_layers(&one, whole, arena, kept, spikes, timesteps, cost);
        whole = NULL;
    }
    in = whole ? (const uint32_t *)whole : arena + (direct ? stages->out : stages->in);
    for (i = direct ? 1u : 0u; i <= last; i++) {
        make(loaded, stages + i, &now);
        sne_rest_layers(&one, &room);
    }
    for (;;) {
        const uint32_t *from = in + t * student->words;
        for (i = direct ? 1u : 0u; i <= last; i++) {
            make(loaded, stages + i, &now);
            one.updates = i == last ? student->updates - student->whole_updates : 0u;
            sne_step_layers(&one, from, &room, spikes, cost);
            from = from == room.maps ? room.maps + room.map_words : room.maps;
        }
        sne_head_loaded(loaded, student, readout, width, logits);
        sne_decide(logits, n, &told);
        t++;
        if (t == timesteps || told.margin >= early[t - 1u]) {
            break;
        }
        for (c = 0; c < n; c++) { /* what was added, taken off again */
            logits[c] -= bias[c] + gain[c] * sne_get(readout, c, width);
        }
    }
    return t;
}

/* Where a stream's students find what steps need beside their input. */
static sne_room room_of(const sne_loaded *loaded, const sne_stream_room *at)
{
    sne_room room;
    (void)loaded;
    room.maps = at->maps;
    room.rows = at->rows;
    room.kept = at->kept;
    room.map_words = at->map_words;
    room.first = 0;
    return room;
}

void sne_reset_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at)
{
    const sne_blob_stage *const stages = stages_of(loaded, student);
    const sne_room room = room_of(loaded, at);
    made now;
    sne_layers one;
    uint32_t i;
    one.stages = &now.stage;
    one.n_stages = 1;
    one.updates = 0;
    for (i = 0; i < student->n_stages; i++) {
        make(loaded, stages + i, &now);
        sne_rest_layers(&one, &room);
    }
}

void sne_step_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at, uint32_t *spikes,
                    sne_cost *cost)
{
    const sne_blob_stage *const stages = stages_of(loaded, student), *const last = stages + (student->n_stages - 1u);
    const sne_room room = room_of(loaded, at);
    const uint32_t *from = at->in;
    uint32_t *const ring = at->windows + student->remembered, *const readout = at->kept + last->kept, i;
    made now;
    sne_layers one;
    one.stages = &now.stage;
    one.n_stages = 1;
    one.updates = 0;
    if (student->window) {
        sne_forget(ring, readout, loaded->model.n_classes, width_of(last), student->window);
    }
    for (i = 0; i < student->n_stages; i++) {
        make(loaded, stages + i, &now);
        sne_step_layers(&one, from, &room, spikes, cost);
        from = from == room.maps ? room.maps + room.map_words : room.maps;
    }
    if (student->window) {
        sne_remember(ring, readout, loaded->model.n_classes, width_of(last), student->window);
    }
}

void sne_read_chain(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *at, int32_t *logits)
{
    const sne_blob_stage *const last = stages_of(loaded, student) + (student->n_stages - 1u);
    sne_head_loaded(loaded, student, at->kept + last->kept, width_of(last), logits);
}
