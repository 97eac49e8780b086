/* SPDX-License-Identifier: Apache-2.0 */
/* fixed: runs the golden vectors and compares every logit, decision, spike count and cost. Made by sne-edge. */
#include "fixed.h"
#include "sne_model.h"

uint32_t fixed_selftest(fixed_state *state)
{
    const sne_vectors *golden = &fixed_vectors;
    const sne_model *model = &fixed_model;
    uint32_t i, j, failures = 0;
    for (i = 0; i < golden->count; i++) {
        sne_result result;
        uint32_t same = sne_run(model, state, golden->inputs + i * model->input_bytes, NULL, &result) == SNE_OK;
        for (j = 0; same && j < model->n_classes; j++) {
            same = state->logits[j] == golden->logits[i * model->n_classes + j];
        }
        for (j = 0; same && j < model->n_spike_layers; j++) {
            same = state->spikes[j] == golden->spikes[i * model->n_spike_layers + j];
        }
        if (!same || result.active != golden->active[i] || result.cost.synaptic_ops != golden->ops[2 * i] ||
            result.cost.macs != golden->ops[2 * i + 1]) {
            failures++;
        }
    }
    return failures;
}
