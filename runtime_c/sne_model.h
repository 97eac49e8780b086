/* What a generated model is made of: for the scheduler, the wire protocol and whoever looks inside. Callers of a model need
 * no more than sne.h. */
#ifndef SNE_MODEL_H
#define SNE_MODEL_H

#include "sne.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One student: `run` takes its part of `state` through an inference from a fresh start, adds its part to `logits`
 * and its work to `cost`. `run_early` (null: no room for it) ends after the first t timesteps at which the margin is at
 * least early[t - 1], and returns t. */
typedef struct {
    void (*run)(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost);
    uint32_t (*run_early)(void *state, const void *input, uint32_t timesteps, const int32_t *early, int32_t *logits,
                          sne_cost *cost);
    uint32_t max_ops; /* highest cost measured at calibration: synaptic operations + MACs */
} sne_student;

/* Which inputs are none of the classes: those whose margin is less than `margin`, or times 2^15 less than `ratio` times the
 * highest minus the lowest logit; and those at which a student that ran made, on average, fewer spikes than `least` or more
 * than `most`. */
typedef struct {
    int32_t ratio, margin;
    uint32_t least, most;
} sne_rejection;

/* Streaming, for models that take raw events or frames: every student runs at every timestep, in a state of its own kind that
 * keeps all membranes. */
typedef struct {
    uint32_t state_bytes;
    void (*reset)(void *state);
    sne_status (*step)(void *state, const uint16_t *events, size_t n); /* one timestep; events strictly ascending */
    void (*read)(void *state, sne_result *result);                     /* logits and label as of now; costs are 0 */
    sne_status (*take)(void *state, const int8_t *values);             /* `step` of frames: one of them, the other null */
} sne_stream;

/* A generated model. Every state of one starts with
 *     int32_t  logits[n_classes];
 *     uint32_t spikes[n_spike_layers];     by student, then layer; sums over the timesteps; 0 for a student not run
 */
struct sne_model {
    const char *name;
    uint8_t fingerprint[8];
    uint32_t input_bytes;
    uint32_t state_bytes;
    uint16_t n_inputs;
    uint16_t n_classes;
    uint16_t n_students;
    uint16_t n_spike_layers;
    uint16_t timesteps;
    uint16_t n_layers;            /* entries of `layers`: every layer that has membranes, readouts included */
    const sne_student *students;
    const uint8_t *order;         /* [n_students] */
    const int32_t *bias;          /* [n_classes] */
    const int32_t *margins;       /* [n_students - 1]; null where the model was not calibrated */
    const uint8_t *routes;        /* [n_classes * (n_classes - 1) / 2][n_students]; null where there are none. For classes
                                   * a < b, row b * (b - 1) / 2 + a names every student once, the most wanted first */
    const sne_policy *policy;     /* what SNE_POLICY_DEFAULT means */
    const sne_stream *stream;     /* null unless the model takes raw events or frames without end */
    const sne_rejection *rejection; /* null where every input gets a label */
    uint8_t traced;               /* whether the state keeps the membranes (SNE_TRACE) */
};

/* Make the label SNE_NONE where the logits, and the spikes of `layers` layers, are those of no class. `spikes`: null where
 * they are not looked at, as in a stream, whose spikes add up without end. */
void sne_reject(const sne_rejection *rejection, const int32_t *logits, size_t n, const uint32_t *spikes, size_t layers,
                sne_result *result);

#ifdef __cplusplus
}
#endif
#endif
