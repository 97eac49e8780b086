/* Drives a model (MODEL) the way callers may, each buffer on the heap at its exact size, so that a sanitizer sees every
 * access outside it. Exit code 0: the golden vectors are exact and errors leave the state alone. */
#include <stdlib.h>
#include <string.h>

#include "sne_model.h"
#include "sne_verify.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

extern const sne_model JOIN(MODEL, _model);
extern const sne_vectors JOIN(MODEL, _vectors);

static int same_run(const sne_model *m, const sne_vectors *golden, void *state, uint32_t i)
{
    uint8_t *input = malloc(m->input_bytes);
    const size_t logits = m->n_classes * sizeof(int32_t), spikes = m->n_spike_layers * sizeof(uint32_t);
    sne_result result;
    int same;
    memcpy(input, golden->inputs + i * m->input_bytes, m->input_bytes);
    same = sne_run(m, state, input, NULL, &result) == SNE_OK && result.active == golden->active[i] &&
           memcmp(state, golden->logits + i * m->n_classes, logits) == 0 &&
           (spikes == 0 ||
            memcmp((const uint8_t *)state + logits, golden->spikes + i * m->n_spike_layers, spikes) == 0) &&
           result.cost.synaptic_ops == golden->ops[2 * i] && result.cost.macs == golden->ops[2 * i + 1];
    free(input);
    return same;
}

static int policies_run(const sne_model *m, void *state, const uint8_t *input)
{
    uint32_t kind, steps, k;
    sne_result result;
    for (kind = SNE_POLICY_DEFAULT; kind <= SNE_POLICY_ROUTED; kind++) {
        for (steps = 0; steps <= m->timesteps; steps++) {
            for (k = 1; k <= m->n_students; k++) {
                int32_t margins[32] = {0};
                sne_policy p = {0};
                p.kind = kind;
                p.students = k;
                p.mask = 1u << (k - 1);
                p.max_ops = 1000 * k;
                p.timesteps = steps;
                p.margins = margins;
                margins[0] = (int32_t)(k % 2u * 0x7fffffffu);
                if (kind == SNE_POLICY_ROUTED && m->routes == NULL) {
                    if (sne_run(m, state, input, &p, &result) != SNE_E_POLICY) {
                        return 0;
                    }
                } else if (sne_run(m, state, input, &p, &result) != SNE_OK || result.active == 0) {
                    return 0;
                }
            }
        }
    }
    return 1;
}

static int errors_leave_the_state(const sne_model *m, void *state, const uint8_t *input)
{
    uint8_t *before = malloc(m->state_bytes);
    sne_policy p = {0};
    sne_result result;
    int same;
    memcpy(before, state, m->state_bytes);
    p.kind = 99;
    same = sne_run(m, state, input, &p, &result) == SNE_E_POLICY;
    p.kind = SNE_POLICY_FIRST;
    p.students = m->n_students + 1u;
    same = same && sne_run(m, state, input, &p, &result) == SNE_E_POLICY;
    p.kind = SNE_POLICY_MASK;
    same = same && sne_run(m, state, input, &p, &result) == SNE_E_POLICY;
    p.kind = SNE_POLICY_BUDGET;
    same = same && sne_run(m, state, input, &p, &result) == SNE_E_POLICY;
    p.kind = SNE_POLICY_ALL;
    p.timesteps = m->timesteps + 1u;
    same = same && sne_run(m, state, input, &p, &result) == SNE_E_POLICY;
    same = same && sne_run(NULL, state, input, NULL, &result) == SNE_E_ARGUMENT;
    same = same && sne_run(m, NULL, input, NULL, &result) == SNE_E_ARGUMENT;
    same = same && sne_run(m, state, NULL, NULL, &result) == SNE_E_ARGUMENT;
    same = same && sne_run(m, state, input, NULL, NULL) == SNE_E_ARGUMENT;
    same = same && memcmp(before, state, m->state_bytes) == 0;
    free(before);
    return same;
}

static int frames_run(const sne_model *m, void *state)
{
    int8_t *values = malloc(m->n_inputs); /* exactly as many as a timestep has */
    sne_result result;
    uint32_t t, i;
    int good = m->stream->step == NULL;
    m->stream->reset(state);
    for (t = 0; t < 3u * m->timesteps; t++) {
        for (i = 0; i < m->n_inputs; i++) {
            values[i] = (int8_t)(t % 2 ? 127 - (int)(i % 5) : -128);
        }
        good = good && m->stream->take(state, values) == SNE_OK;
        m->stream->read(state, &result);
    }
    good = good && m->stream->take(state, NULL) == SNE_E_ARGUMENT;
    good = good && m->stream->take(NULL, values) == SNE_E_ARGUMENT;
    free(values);
    return good;
}

static int stream_runs(const sne_model *m, void *state)
{
    uint16_t *events = malloc(m->n_inputs * sizeof(uint16_t)), *none = NULL;
    sne_result result;
    uint32_t t, i;
    int good = 1;
    m->stream->reset(state);
    for (t = 0; t < 3u * m->timesteps; t++) {
        const uint16_t stride = (uint16_t)(t % 3 + 1);
        size_t n = 0;
        for (i = 0; i < m->n_inputs; i += stride) {
            events[n++] = (uint16_t)i;
        }
        good = good && m->stream->step(state, events, n) == SNE_OK;
        m->stream->read(state, &result);
    }
    good = good && m->stream->step(state, none, 0) == SNE_OK;
    good = good && m->stream->step(state, none, 1) == SNE_E_ARGUMENT;
    good = good && m->stream->step(NULL, events, 1) == SNE_E_ARGUMENT;
    if (m->n_inputs > 1) {
        events[0] = events[1] = 1;
        good = good && m->stream->step(state, events, 2) == SNE_E_EVENT;
    }
    events[0] = m->n_inputs;
    good = good && m->stream->step(state, events, 1) == SNE_E_EVENT;
    free(events);
    return good;
}

int main(void)
{
    const sne_model *m = &JOIN(MODEL, _model);
    const sne_vectors *golden = &JOIN(MODEL, _vectors);
    const size_t bytes = m->stream && m->stream->state_bytes > m->state_bytes ? m->stream->state_bytes : m->state_bytes;
    void *state = malloc(bytes);
    uint32_t i;
    int good = 1;
    memset(state, 0xA5, bytes); /* a run needs no initial state */
    for (i = 0; i < golden->count; i++) {
        good = good && same_run(m, golden, state, i);
        good = good && policies_run(m, state, golden->inputs + i * m->input_bytes);
    }
    good = good && errors_leave_the_state(m, state, golden->inputs);
    good = good && (m->stream == NULL || (m->stream->take ? frames_run : stream_runs)(m, state));
    good = good && (golden->count == 0 || same_run(m, golden, state, 0));
    free(state);
    return good ? 0 : 1;
}
