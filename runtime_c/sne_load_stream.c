/* Streams of a loaded model: all students, one timestep a call. */
#include "sne_load_run.h"

static uint32_t *spikes_of(const sne_loaded *loaded, void *state)
{
    return (uint32_t *)state + loaded->model.n_classes;
}

static sne_stream_room room_of(const sne_loaded *loaded, void *state)
{
    const sne_blob *const head = sne_head_of(loaded);
    const sne_blob_stream *const s = sne_stream_of(loaded);
    sne_stream_room room;
    room.kept = (uint32_t *)state + sne_head_words(head);
    room.graphs = room.kept + head->kept_words;
    room.windows = room.graphs + s->graphs;
    room.in = room.windows + s->windows;
    room.maps = room.in + s->in;
    room.rows = room.maps + 2u * s->map_words;
    room.made = (uint8_t *)(room.rows + s->rows);
    room.map_words = s->map_words;
    return room;
}

static int takes(const sne_loaded *loaded, const void *state, uint32_t encoder)
{
    return loaded && state && ((uintptr_t)state & 3u) == 0 && loaded->stream_bytes && sne_head_of(loaded)->encoder == encoder;
}

static int has_stream(const sne_loaded *loaded, const void *state)
{
    return takes(loaded, state, SNE_BLOB_EVENTS) || takes(loaded, state, SNE_BLOB_FRAMES);
}

sne_status sne_reset_loaded(const sne_loaded *loaded, void *state)
{
    sne_stream_room room;
    uint32_t k;
    if (!has_stream(loaded, state)) {
        return SNE_E_ARGUMENT;
    }
    room = room_of(loaded, state);
    sne_clear(spikes_of(loaded, state), sne_head_words(sne_head_of(loaded)) - (size_t)loaded->model.n_classes);
    sne_clear(room.windows, sne_stream_of(loaded)->windows);
    for (k = 0; k < loaded->model.n_students; k++) {
        const sne_blob_student *const student = sne_student_of(loaded, k);
        if (student->graph) {
            loaded->kernels->graph_loader->reset(loaded, student, &room);
        } else {
            sne_reset_chain(loaded, student, &room);
        }
    }
    return SNE_OK;
}

/* `values`: a frame, or null where spikes lie in the room. */
static void step(const sne_loaded *loaded, void *state, sne_stream_room *room, const int8_t *values)
{
    sne_cost cost = {0, 0, 0};
    uint32_t k;
    for (k = 0; k < loaded->model.n_students; k++) {
        const sne_blob_student *const student = sne_student_of(loaded, k);
        if (student->graph) {
            loaded->kernels->graph_loader->step(loaded, student, values, room, spikes_of(loaded, state), &cost);
        } else {
            sne_step_chain(loaded, student, room, spikes_of(loaded, state), &cost);
        }
    }
}

sne_status sne_step_loaded(const sne_loaded *loaded, void *state, const uint16_t *events, size_t n)
{
    sne_stream_room room;
    sne_status status;
    if (!takes(loaded, state, SNE_BLOB_EVENTS)) {
        return SNE_E_ARGUMENT;
    }
    status = sne_check_events(events, n, loaded->model.n_inputs);
    if (status != SNE_OK) {
        return status;
    }
    room = room_of(loaded, state);
    sne_event_bits(events, n, loaded->model.n_inputs, room.in);
    step(loaded, state, &room, NULL);
    return SNE_OK;
}

sne_status sne_take_loaded(const sne_loaded *loaded, void *state, const int8_t *values)
{
    sne_stream_room room;
    if (!values || !takes(loaded, state, SNE_BLOB_FRAMES)) {
        return SNE_E_ARGUMENT;
    }
    room = room_of(loaded, state);
    step(loaded, state, &room, values);
    return SNE_OK;
}

sne_status sne_read_loaded(const sne_loaded *loaded, void *state, sne_result *result)
{
    const uint32_t students = has_stream(loaded, state) ? loaded->model.n_students : 0u;
    int32_t *const logits = (int32_t *)state;
    sne_stream_room room;
    uint32_t k;
    if (!students || !result) {
        return SNE_E_ARGUMENT;
    }
    room = room_of(loaded, state);
    result->active = 0xffffffffu >> (32u - students);
    result->students_run = students;
    result->stop = SNE_STOP_COMPLETE;
    result->timesteps = 0;
    result->cost.synaptic_ops = result->cost.macs = result->cost.neuron_updates = 0;
    for (k = 0; k < loaded->model.n_classes; k++) {
        logits[k] = loaded->model.bias[k];
    }
    for (k = 0; k < students; k++) {
        const sne_blob_student *const student = sne_student_of(loaded, k);
        if (student->graph) {
            loaded->kernels->graph_loader->read(loaded, student, &room, logits);
        } else {
            sne_read_chain(loaded, student, &room, logits);
        }
    }
    sne_decide(logits, loaded->model.n_classes, result);
    if (loaded->model.rejection) {
        sne_reject(loaded->model.rejection, logits, loaded->model.n_classes, NULL, 0, result);
    }
    return SNE_OK;
}
