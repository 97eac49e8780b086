/* Running a loaded model: its students are those of a compiled one, whose stages are made of the blob's as they are needed. */
#include "sne_student.h" /* first: the build is decided in sne_core.h */

#include "sne_blob.h"
#include "sne_load.h"
#include "sne_load_check.h"

/* What sne_run hands its students for an input. */
typedef struct {
    const sne_loaded *loaded;
    const void *input;
} call;

/* A stage, with the layer and the neurons that it points to. */
typedef struct {
    sne_stage stage;
    sne_neurons neurons;
    union {
        sne_direct direct; /* starts with the synapses, for all that have some */
        sne_pooling pooling;
    } layer;
} made;

static void make_axes(const uint8_t *blob, const sne_blob_stage *from, sne_axis *rows, sne_axis *columns)
{
    rows->start = (const sne_start *)(const void *)(blob + from->row_start);
    rows->pairs = (const sne_pair *)(const void *)(blob + from->row_pairs);
    columns->start = (const sne_start *)(const void *)(blob + from->column_start);
    columns->pairs = (const sne_pair *)(const void *)(blob + from->column_pairs);
}

static void make(const sne_loaded *loaded, const sne_blob_stage *from, made *to)
{
    const uint8_t *const blob = loaded->blob;
    const sne_kernel *const kernel = sne_find_kernel(loaded->kernels, from->kind);
    const sne_divider divide = {from->multiplier, from->shift, from->divisor};
    to->stage.run = kernel->run;
    to->stage.layer = &to->layer;
    to->stage.in = from->in;
    to->stage.out = from->out;
    to->stage.membranes = from->membranes;
    to->stage.current = from->current;
    to->stage.rows = from->rows;
    to->stage.kept = from->kept;
    to->stage.spikes = from->spikes;
    if (SNE_KIND_KERNEL(from->kind) == SNE_MAXPOOL) {
        sne_pooling *const p = &to->layer.pooling;
        to->stage.neurons = NULL;
        make_axes(blob, from, &p->rows, &p->columns);
        p->divide = divide;
        p->in_height = from->in_height;
        p->in_width = from->in_width;
        p->out_height = from->out_height;
        p->out_width = from->out_width;
    } else {
        sne_synapses *const p = &to->layer.direct.synapses;
        to->stage.neurons = &to->neurons;
        to->layer.direct.shift = from->current_shift;
        p->weight = (const sne_weight *)(blob + from->weight);
        make_axes(blob, from, &p->rows, &p->columns);
        p->divide = divide;
        p->in_height = from->in_height;
        p->in_width = from->in_width;
        p->in_channels = from->in_channels;
        p->out_height = from->out_height;
        p->out_width = from->out_width;
        p->kernel_height = from->kernel_height;
        p->kernel_width = from->kernel_width;
        p->stride_height = from->stride_height;
        p->stride_width = from->stride_width;
        p->padding_height = from->padding_height;
        p->padding_width = from->padding_width;
        p->capacity = from->capacity;
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

static const sne_blob *head_of(const sne_loaded *loaded)
{
    return (const sne_blob *)(const void *)loaded->blob;
}

static const sne_blob_student *student_of(const sne_loaded *loaded, uint32_t number)
{
    return (const sne_blob_student *)(const void *)(loaded->blob + head_of(loaded)->students) + number;
}

static const sne_blob_stage *stages_of(const sne_loaded *loaded, const sne_blob_student *student)
{
    return (const sne_blob_stage *)(const void *)(loaded->blob + student->stages);
}

static uint32_t *arena_of(const sne_loaded *loaded, void *state)
{
    const sne_model *const model = &loaded->model;
    return (uint32_t *)state + model->n_classes + (model->n_spike_layers ? model->n_spike_layers : 1u);
}

/* The input as the first stage takes it: null where it lies in the arena. */
static const void *encoded(const sne_loaded *loaded, const sne_blob_stage *first, const void *input, uint32_t timesteps,
                           uint32_t *arena)
{
    const sne_blob *const head = head_of(loaded);
    if (head->encoder != SNE_BLOB_RATE) {
        return input;
    }
    sne_rate_encode((const int8_t *)input, head->n_inputs, head->seed, timesteps, arena + first->in);
    return NULL;
}

static void run_student(uint32_t number, void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    const sne_loaded *const loaded = ((const call *)input)->loaded;
    const sne_blob_student *const student = student_of(loaded, number);
    const sne_blob_stage *const stages = stages_of(loaded, student);
    const uint32_t last = student->n_stages - 1u;
    uint32_t *const arena = arena_of(loaded, state), *const spikes = (uint32_t *)state + loaded->model.n_classes;
    const void *in = encoded(loaded, stages, ((const call *)input)->input, timesteps, arena);
    uint32_t i;
    for (i = 0; i <= last; i++) {
        made now;
        sne_layers one;
        make(loaded, stages + i, &now);
        one.stages = &now.stage;
        one.n_stages = 1;
        one.updates = i == 0 ? student->updates : 0u;
        sne_run_layers(&one, in, arena, NULL, spikes, timesteps, cost);
        in = NULL;
    }
    sne_head(logits, arena + stages[last].membranes, (const int32_t *)(const void *)(loaded->blob + student->gain),
             (const int32_t *)(const void *)(loaded->blob + student->bias), loaded->model.n_classes,
             SNE_KIND_WIDE(stages[last].kind) ? 32 : 16);
}

static uint32_t run_student_early(uint32_t number, void *state, const void *input, uint32_t timesteps, const int32_t *early,
                                  int32_t *logits, sne_cost *cost)
{
    const sne_loaded *const loaded = ((const call *)input)->loaded;
    const sne_blob_student *const student = student_of(loaded, number);
    const sne_blob_stage *const stages = stages_of(loaded, student);
    const uint32_t last = student->n_stages - 1u, n = loaded->model.n_classes;
    const int direct = head_of(loaded)->encoder == SNE_BLOB_DIRECT;
    uint32_t *const arena = arena_of(loaded, state), *const spikes = (uint32_t *)state + n;
    const void *given = encoded(loaded, stages, ((const call *)input)->input, timesteps, arena);
    const uint32_t *in;
    sne_room room;
    made now;
    sne_layers one;
    sne_result told;
    uint32_t t = 0, i, c;
    const int32_t *const gain = (const int32_t *)(const void *)(loaded->blob + student->gain);
    const int32_t *const bias = (const int32_t *)(const void *)(loaded->blob + student->bias);
    const int width = SNE_KIND_WIDE(stages[last].kind) ? 32 : 16;
    const uint32_t *const readout = arena + student->kept + (stages[last].kept - student->first);
    one.stages = &now.stage;
    one.n_stages = 1;
    room.maps = arena + student->maps;
    room.rows = arena + student->rows;
    room.kept = arena + student->kept;
    room.map_words = student->map_words;
    room.first = student->first;
    if (direct) { /* the first layer through all timesteps */
        make(loaded, stages, &now);
        one.updates = student->whole_updates;
        sne_run_layers(&one, given, arena, NULL, spikes, timesteps, cost);
        given = NULL;
    }
    in = given ? (const uint32_t *)given : arena + (direct ? stages->out : stages->in);
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
        sne_head(logits, readout, gain, bias, n, width);
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

/* sne_run calls a student by a function that knows which one it is. */
#define STUDENT(k)                                                                                                        \
    static void run_##k(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)              \
    {                                                                                                                     \
        run_student(k, state, input, timesteps, logits, cost);                                                            \
    }                                                                                                                     \
    static uint32_t early_##k(void *state, const void *input, uint32_t timesteps, const int32_t *early, int32_t *logits,  \
                              sne_cost *cost)                                                                             \
    {                                                                                                                     \
        return run_student_early(k, state, input, timesteps, early, logits, cost);                                        \
    }
#define BOTH(k) {run_##k, early_##k, 0},
#if SNE_LOAD_STUDENTS > 16
#define EACH(one)                                                                                                         \
    one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11) one(12) one(13) one(14) one(15) \
    one(16) one(17) one(18) one(19) one(20) one(21) one(22) one(23) one(24) one(25) one(26) one(27) one(28) one(29)       \
    one(30) one(31)
#elif SNE_LOAD_STUDENTS > 8
#define EACH(one)                                                                                                         \
    one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11) one(12) one(13) one(14) one(15)
#else
#define EACH(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7)
#endif
EACH(STUDENT)

sne_status sne_load(const void *blob, size_t length, const sne_kernels *kernels, sne_loaded *loaded)
{
    static const sne_student students[] = {EACH(BOTH)};
    const uint8_t *const bytes = (const uint8_t *)blob;
    const sne_blob *const head = (const sne_blob *)blob;
    sne_status status;
    sne_model *model;
    uint32_t k;
    if (!blob || !kernels || !loaded || ((uintptr_t)blob & 3u) != 0) {
        return SNE_E_ARGUMENT;
    }
    status = sne_check_blob(bytes, length, kernels);
    if (status != SNE_OK) {
        return status;
    }
    loaded->blob = bytes;
    loaded->kernels = kernels;
    loaded->policy.kind = head->kind;
    loaded->policy.students = head->first;
    loaded->policy.mask = head->mask;
    loaded->policy.max_ops = head->max_ops;
    loaded->policy.timesteps = head->policy_timesteps;
    loaded->policy.margins = head->margins ? (const int32_t *)(const void *)(bytes + head->margins) : NULL;
    loaded->policy.early = head->early ? (const int32_t *)(const void *)(bytes + head->early) : NULL;
    for (k = 0; k < head->n_students; k++) {
        loaded->students[k] = students[k];
        loaded->students[k].max_ops = student_of(loaded, k)->max_ops;
        if (!head->early) {
            loaded->students[k].run_early = NULL;
        }
    }
    model = &loaded->model;
    model->name = (const char *)bytes + head->name;
    for (k = 0; k < 8u; k++) {
        model->fingerprint[k] = head->fingerprint[k];
    }
    model->input_bytes = head->input_bytes;
    model->state_bytes = head->state_bytes;
    model->n_inputs = head->n_inputs;
    model->n_classes = head->n_classes;
    model->n_students = head->n_students;
    model->n_spike_layers = head->n_spike_layers;
    model->timesteps = head->timesteps;
    model->n_layers = 0;
    model->students = loaded->students;
    model->order = bytes + head->order_of;
    model->bias = (const int32_t *)(const void *)(bytes + head->bias);
    model->margins = loaded->policy.margins;
    model->routes = head->routes ? bytes + head->routes : NULL;
    model->policy = &loaded->policy;
    model->stream = NULL;
    model->rejection = NULL;
    model->traced = 0;
    if (head->rejection) {
        loaded->rejection = *(const sne_rejection *)(const void *)(bytes + head->rejection);
        model->rejection = &loaded->rejection;
    }
    return SNE_OK;
}

sne_status sne_run_loaded(const sne_loaded *loaded, void *state, const void *input, const sne_policy *policy, sne_result *result)
{
    call given;
    given.loaded = loaded;
    given.input = input;
    if (!loaded || !input || (head_of(loaded)->encoder == SNE_BLOB_EVENTS && ((uintptr_t)input & 3u) != 0)) {
        return SNE_E_ARGUMENT;
    }
    return sne_run(&loaded->model, state, &given, policy, result);
}
