/* Commands that run the model: its input, its policies, what it says of them, vectors and streams. */
#include <string.h>

#include "sne_wire_parts.h"

enum { POLICY_BYTES = 20 };

static const int32_t *logits(const sne_wire *wire)
{
    return (const int32_t *)wire->served->state;
}

int sne_wire_reset(sne_wire *wire)
{
    const sne_model *model = wire->served->model;
    memset(wire->served->input, 0, model->input_bytes);
    memset(wire->served->state, 0, model->state_bytes); /* logits and spikes, whichever state it is */
    wire->has_result = 0;
    wire->streaming = 0;
    return SNE_OK;
}

int sne_wire_load(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t size = wire->served->model->input_bytes;
    uint32_t offset;
    if (n < 4) {
        return SNE_E_LENGTH;
    }
    offset = sne_wire_get_u32(body);
    if (offset > size || n - 4 > size - offset) {
        return SNE_E_ARGUMENT;
    }
    memcpy(wire->served->input + offset, body + 4, n - 4);
    return SNE_OK;
}

/* A policy: nothing (the default one), or its five numbers, then margins or none (the model's own), then early stops or none. */
int sne_wire_parse_policy(sne_wire *wire, const uint8_t *body, size_t n, sne_policy *policy)
{
    const sne_model *model = wire->served->model;
    const size_t count = n > POLICY_BYTES ? (n - POLICY_BYTES) / 4 : 0;
    const size_t margins = model->n_students - (size_t)1, early = (size_t)model->n_students * (model->timesteps - (size_t)1);
    size_t i;
    memset(policy, 0, sizeof *policy);
    if (n == 0) {
        return SNE_OK;
    }
    if (n < POLICY_BYTES || n % 4 != 0) {
        return SNE_E_LENGTH;
    }
    policy->kind = sne_wire_get_u32(body);
    policy->students = sne_wire_get_u32(body + 4);
    policy->mask = sne_wire_get_u32(body + 8);
    policy->max_ops = sne_wire_get_u32(body + 12);
    policy->timesteps = sne_wire_get_u32(body + 16);
    if (count == 0) {
        return SNE_OK;
    }
    if (count != margins && count != margins + early) {
        return SNE_E_POLICY;
    }
    for (i = 0; i < count; i++) {
        const uint32_t margin = sne_wire_get_u32(body + POLICY_BYTES + 4 * i);
        if (margin > INT32_MAX) {
            return SNE_E_POLICY;
        }
        wire->operands.margins[i] = (int32_t)margin;
    }
    policy->margins = wire->operands.margins;
    policy->early = count > margins ? wire->operands.margins + margins : NULL;
    return SNE_OK;
}

int sne_wire_infer(sne_wire *wire, const sne_policy *policy)
{
    const int status = sne_run(wire->served->model, wire->served->state, wire->served->input, policy, &wire->result);
    if (status == SNE_OK) {
        wire->has_result = 1;
        wire->streaming = 0;
    }
    return status;
}

/* The result, and as many logits from class `first` on as fit. */
static void put_result(sne_wire *wire, uint32_t first)
{
    const sne_result *r = &wire->result;
    uint32_t c;
    sne_wire_put_u32(wire, r->label);
    sne_wire_put_u32(wire, (uint32_t)r->margin);
    sne_wire_put_u32(wire, r->active);
    sne_wire_put_u32(wire, r->students_run);
    sne_wire_put_u32(wire, r->stop);
    sne_wire_put_u32(wire, r->timesteps);
    sne_wire_put_u32(wire, r->cost.synaptic_ops);
    sne_wire_put_u32(wire, r->cost.macs);
    sne_wire_put_u32(wire, r->cost.neuron_updates);
    for (c = first; c < wire->served->model->n_classes && sne_wire_room(wire) >= 4; c++) {
        sne_wire_put_u32(wire, (uint32_t)logits(wire)[c]);
    }
}

int sne_wire_run(sne_wire *wire, const uint8_t *body, size_t n)
{
    sne_policy policy;
    int status = sne_wire_parse_policy(wire, body, n, &policy);
    if (status == SNE_OK) {
        status = sne_wire_infer(wire, &policy);
    }
    if (status == SNE_OK) {
        put_result(wire, 0);
    }
    return status;
}

int sne_wire_result(sne_wire *wire, const uint8_t *body, size_t n)
{
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (!wire->has_result) {
        return SNE_E_NO_RESULT;
    }
    if (sne_wire_get_u16(body) >= wire->served->model->n_classes) {
        return SNE_E_ARGUMENT;
    }
    put_result(wire, sne_wire_get_u16(body));
    return SNE_OK;
}

/* Index of the first difference, or `n`. */
static uint32_t first_difference(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

int sne_wire_vector(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_model *model = wire->served->model;
    const sne_vectors *v = wire->served->vectors;
    uint32_t index, class_at, layer_at, differs = 0;
    int status;
    if (n != 4) {
        return SNE_E_LENGTH;
    }
    index = sne_wire_get_u32(body);
    if (!v || index >= v->count) {
        return SNE_E_ARGUMENT;
    }
    /* Through the input buffer, because the vectors need not be aligned. */
    memcpy(wire->served->input, v->inputs + (size_t)index * model->input_bytes, model->input_bytes);
    status = sne_wire_infer(wire, NULL);
    if (status != SNE_OK) {
        return status;
    }
    class_at = first_difference((const uint32_t *)wire->served->state,
                                (const uint32_t *)(const void *)(v->logits + (size_t)index * model->n_classes),
                                model->n_classes);
    layer_at = first_difference(sne_wire_spikes(wire), v->spikes + (size_t)index * model->n_spike_layers, model->n_spike_layers);
    differs |= class_at < model->n_classes ? (uint32_t)SNE_DIFFERS_LOGITS : 0u;
    differs |= wire->result.active != v->active[index] ? (uint32_t)SNE_DIFFERS_ACTIVE : 0u;
    differs |= layer_at < model->n_spike_layers ? (uint32_t)SNE_DIFFERS_SPIKES : 0u;
    differs |= wire->result.cost.synaptic_ops != v->ops[2 * (size_t)index] ||
                       wire->result.cost.macs != v->ops[2 * (size_t)index + 1]
                   ? (uint32_t)SNE_DIFFERS_OPS
                   : 0u;
    sne_wire_put_u8(wire, differs);
    sne_wire_put_u16(wire, class_at);
    sne_wire_put_u16(wire, layer_at);
    return SNE_OK;
}

int sne_wire_step(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_stream *stream = wire->served->model->stream;
    size_t i;
    int status;
    if (!stream) {
        return SNE_E_NO_STREAM;
    }
    if (stream->take ? n != wire->served->model->n_inputs : n % 2 != 0) {
        return SNE_E_LENGTH;
    }
    for (i = 0; !stream->take && i < n / 2; i++) {
        wire->operands.events[i] = (uint16_t)sne_wire_get_u16(body + 2 * i);
    }
    status = stream->take ? SNE_OK : sne_check_events(wire->operands.events, n / 2, wire->served->model->n_inputs);
    if (status != SNE_OK) {
        return status;
    }
    if (!wire->streaming) {
        stream->reset(wire->served->state);
        wire->streaming = 1;
    }
    status = stream->take ? stream->take(wire->served->state, (const int8_t *)body)
                          : stream->step(wire->served->state, wire->operands.events, n / 2);
    if (status != SNE_OK) {
        return status;
    }
    stream->read(wire->served->state, &wire->result);
    wire->has_result = 1;
    put_result(wire, 0);
    return SNE_OK;
}
