/* Loading: a blob that holds becomes a model, whose students are those of a compiled one, and which runs as that does. */
#include "sne_student.h" /* first: the build is decided in sne_core.h */

#include "sne_load.h"
#include "sne_load_check.h"
#include "sne_load_run.h"

static void run_student(uint32_t number, void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    const sne_call *const given = (const sne_call *)input;
    const sne_blob_student *const student = sne_student_of(given->loaded, number);
    if (student->graph) {
        (void)given->loaded->kernels->graph_loader->run(given, student, state, timesteps, NULL, logits, cost);
    } else {
        sne_run_chain(given, student, state, timesteps, logits, cost);
    }
}

static uint32_t run_student_early(uint32_t number, void *state, const void *input, uint32_t timesteps, const int32_t *early,
                                  int32_t *logits, sne_cost *cost)
{
    const sne_call *const given = (const sne_call *)input;
    const sne_blob_student *const student = sne_student_of(given->loaded, number);
    if (student->graph) {
        return given->loaded->kernels->graph_loader->run(given, student, state, timesteps, early, logits, cost);
    }
    return sne_run_chain_early(given, student, state, timesteps, early, logits, cost);
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
    sne_room_made made = {0, 0};
    sne_status status;
    sne_model *model;
    uint32_t k;
    if (!blob || !kernels || !loaded || ((uintptr_t)blob & 3u) != 0) {
        return SNE_E_ARGUMENT;
    }
    status = sne_check_blob(bytes, length, kernels, &made);
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
        loaded->students[k].max_ops = sne_student_of(loaded, k)->max_ops;
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
    model->state_bytes = head->state_bytes + 4u * SNE_LOAD_TRACED * head->kept_words + made.bytes;
    model->n_inputs = head->n_inputs;
    model->n_classes = head->n_classes;
    model->n_students = head->n_students;
    model->n_spike_layers = head->n_spike_layers;
    model->timesteps = head->timesteps;
    model->n_layers = 0; /* nothing tells of them */
    model->students = loaded->students;
    model->order = bytes + head->order_of;
    model->bias = (const int32_t *)(const void *)(bytes + head->bias);
    model->margins = loaded->policy.margins;
    model->routes = head->routes ? bytes + head->routes : NULL;
    model->policy = &loaded->policy;
    model->stream = NULL;
    model->rejection = NULL;
    model->traced = SNE_LOAD_TRACED;
    loaded->stream_bytes = head->stream ? 4u * sne_stream_words(loaded) + made.stream_bytes : 0u;
    if (head->rejection) {
        loaded->rejection = *(const sne_rejection *)(const void *)(bytes + head->rejection);
        model->rejection = &loaded->rejection;
    }
    return SNE_OK;
}

sne_status sne_run_loaded(const sne_loaded *loaded, void *state, const void *input, const sne_policy *policy, sne_result *result)
{
    sne_call given;
    given.loaded = loaded;
    given.input = input;
    if (!loaded || !input || (sne_head_of(loaded)->encoder == SNE_BLOB_EVENTS && ((uintptr_t)input & 3u) != 0)) {
        return SNE_E_ARGUMENT;
    }
    return sne_run(&loaded->model, state, &given, policy, result);
}
