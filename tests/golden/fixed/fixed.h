/* SPDX-License-Identifier: Apache-2.0 */
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
#define FIXED_TABLE_BYTES 1400 /* constants, where a pointer has 32 bits */
#define FIXED_LOGIT_SCALE 0.125 /* the real value of a logit, or margin, of 1 */

#if FIXED_STATE_BYTES > SIZE_MAX || FIXED_INPUT_BYTES > SIZE_MAX || FIXED_TABLE_BYTES > SIZE_MAX
#error "fixed needs more memory than this processor can address"
#endif

/* Classes: 0 rest, 1 walk ?? run, 2 fall */

/* The name of a class, in UTF-8; null where there is no such class. Where nothing calls this, no names are stored. */
static inline const char *fixed_class_name(uint32_t label)
{
    static const char *const class_names[FIXED_N_CLASSES] = {
        "rest",
        "walk \052\057 run",
        "fall"
    };
    return label < FIXED_N_CLASSES ? class_names[label] : NULL;
}

/* fixed_quantize.h makes an input of real values.
 * Input: 3 x 6 x 2 values (height, width, channels), q = round((x - -1.0) / 0.5), within -128 .. 127. */

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
SNE_CHECKED sne_status fixed_run(fixed_state *state, const int8_t *input, const sne_policy *policy, sne_result *result);

/* Run the golden vectors; returns how many did not come out exactly as the reference's. */
uint32_t fixed_selftest(fixed_state *state);

#ifdef __cplusplus
}
#endif
#endif
