#include "sne_batch.h"

#include <string.h>

#include "sne_model.h"

sne_status sne_batch(const sne_model *model, void *state, const uint8_t *inputs, size_t n, const sne_policy *policy,
                     sne_result *results, int32_t *logits, uint32_t *spikes, uint8_t *states)
{
    const size_t logit_bytes = model->n_classes * sizeof(int32_t), spike_bytes = model->n_spike_layers * sizeof(uint32_t);
    size_t i;
    for (i = 0; i < n; i++) {
        const sne_status status = sne_run(model, state, inputs + i * model->input_bytes, policy, results + i);
        const uint8_t *bytes = (const uint8_t *)state;
        if (status != SNE_OK) {
            return status;
        }
        if (logits) {
            memcpy(logits + i * model->n_classes, bytes, logit_bytes);
        }
        if (spikes && spike_bytes) {
            memcpy(spikes + i * model->n_spike_layers, bytes + logit_bytes, spike_bytes);
        }
        if (states) {
            memcpy(states + i * model->state_bytes, bytes, model->state_bytes);
        }
    }
    return SNE_OK;
}
