/* Many inferences in one call, for the host: evaluation and verification run through here. */
#ifndef SNE_BATCH_H
#define SNE_BATCH_H

#include "sne.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Run `n` inputs one after the other through one `state`. Outputs, each of which may be null except `results`:
 * logits [n][n_classes], spikes [n][n_spike_layers], states [n][state_bytes]. Stops at the first error. */
sne_status sne_batch(const sne_model *model, void *state, const uint8_t *inputs, size_t n, const sne_policy *policy,
                     sne_result *results, int32_t *logits, uint32_t *spikes, uint8_t *states);

#ifdef __cplusplus
}
#endif
#endif
