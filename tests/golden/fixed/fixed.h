/* fixed: a spiking ensemble of 2 students, 36 inputs, 3 classes.
 * Made by sne-edge; fingerprint 2baefca5b45cb1be. Do not edit: export the model again.
 *
 *     static fixed_state state;
 *     sne_result result;
 *     if (fixed_run(&state, input, NULL, &result) == SNE_OK) use(result.label);
 *
 * The caller owns the state; several may run at once. sne.h explains policies, results and errors. */
#ifndef FIXED_H
#define FIXED_H

#include "sne.h"
#include "sne_verify.h"

#if SNE_RUNTIME_VERSION != 6
#error "fixed was generated for another version of the sne-edge runtime: export it again"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define FIXED_N_INPUTS 36
#define FIXED_N_CLASSES 3
#define FIXED_N_STUDENTS 2
#define FIXED_TIMESTEPS 3
#define FIXED_INPUT_BYTES 36
#ifndef SNE_TRACE
#define FIXED_STATE_BYTES 264
#else
#define FIXED_STATE_BYTES 400
#endif

/* Classes: 0 rest, 1 walk ?? run, 2 fall */

/* Input: 3 x 6 x 2 values (height, width, channels), q = round((x - -1.0) / 0.5), within -128 .. 127. */

typedef struct {
    int32_t logits[FIXED_N_CLASSES];
    uint32_t spikes[3];
#ifdef SNE_TRACE
    uint32_t membranes[34];
#endif
    uint32_t arena[60];
} fixed_state;

extern const sne_model fixed_model;
extern const sne_layer_info fixed_layers[5];
extern const sne_vectors fixed_vectors;

/* One inference on FIXED_INPUT_BYTES of input; `policy` may be null (the model's own). */
sne_status fixed_run(fixed_state *state, const int8_t *input, const sne_policy *policy, sne_result *result);

/* Run the golden vectors; returns how many did not come out exactly as the reference's. */
uint32_t fixed_selftest(fixed_state *state);

#ifdef __cplusplus
}
#endif
#endif
