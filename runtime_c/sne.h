/* sne-edge runtime: the types an exported model is made of, and the activation scheduler.
 *
 * This header is the manual. The runtime uses no heap, no floating point, no stdio and no mutable globals;
 * the caller owns all state, so several models, and several states of one model, may run at once.
 * After an error, state and result are as they were before the call. */
#ifndef SNE_H
#define SNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the runtime; generated code refuses another one. */
#define SNE_RUNTIME_VERSION 5

/* Status codes: 0 is success, errors are negative. Those from -16 on belong to the wire protocol (sne_wire.h). */
typedef enum {
    SNE_OK = 0,
    SNE_E_ARGUMENT = -1, /* a pointer is null or a number out of range */
    SNE_E_POLICY = -2,   /* the policy does not fit the model */
    SNE_E_EVENT = -3     /* events are not ascending indices of the model's inputs */
} sne_status;

typedef enum {
    SNE_POLICY_DEFAULT = 0, /* the one the model was exported with */
    SNE_POLICY_ALL = 1,
    SNE_POLICY_FIRST = 2,   /* the first `students` in the model's order */
    SNE_POLICY_MASK = 3,    /* the students whose bit is set in `mask` */
    SNE_POLICY_CASCADE = 4, /* stop after stage k where top-1 minus top-2 logit >= margins[k] */
    SNE_POLICY_BUDGET = 5,  /* start a student only while its highest measured cost still fits in `max_ops` */
    SNE_POLICY_ROUTED = 6   /* a cascade in which the model's routes choose the next student by the top two classes */
} sne_policy_kind;

/* Which students wake for an input. Fields that a kind does not name are ignored; all zero is a valid policy. */
typedef struct {
    uint32_t kind;          /* sne_policy_kind */
    uint32_t students;      /* FIRST: 1 .. n_students */
    uint32_t mask;          /* MASK: at least one bit, none beyond n_students */
    uint32_t max_ops;       /* BUDGET: synaptic operations + MACs, at least 1 */
    uint32_t timesteps;     /* 0: the model's; otherwise 1 .. the model's */
    const int32_t *margins; /* CASCADE, ROUTED: n_students - 1 values >= 0; null: the model's own (calibrated) */
    const int32_t *early;   /* CASCADE, ROUTED: [n_students][the model's timesteps - 1]; null: none. The student of stage
                             * k ends, and with it the cascade, after t of its timesteps where top-1 minus top-2 logit
                             * >= early[k][t - 1]. For models made with room for it: those whose own policy does */
} sne_policy;

/* Why no further student was started. */
typedef enum {
    SNE_STOP_COMPLETE = 0, /* every student the policy allows has run */
    SNE_STOP_MARGIN = 1,
    SNE_STOP_BUDGET = 2,
    SNE_STOP_EARLY = 3 /* before the last student's last timestep */
} sne_stop;

/* Work done. A synaptic operation is one weight added for one spike; a MAC is one weight times one non-zero value
 * of a direct input; a neuron update is one neuron, readouts included, taken through one timestep. */
typedef struct {
    uint32_t synaptic_ops;
    uint32_t macs;
    uint32_t neuron_updates;
} sne_cost;

typedef struct {
    uint32_t label;        /* index of the highest logit, the lowest such index on a tie */
    int32_t margin;        /* highest minus second highest logit */
    uint32_t active;       /* mask of the students that ran */
    uint32_t students_run;
    uint32_t stop;         /* sne_stop */
    uint32_t timesteps;    /* of the last student; those before it ran all that the policy says */
    sne_cost cost;
} sne_result;

/* One student: `run` takes its part of `state` through an inference from a fresh start, adds its part to `logits`
 * and its work to `cost`. `run_early` (null: no room for it) ends after the first t timesteps at which the margin is at
 * least early[t - 1], and returns t. */
typedef struct {
    void (*run)(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost);
    uint32_t (*run_early)(void *state, const void *input, uint32_t timesteps, const int32_t *early, int32_t *logits,
                          sne_cost *cost);
    uint32_t max_ops; /* highest cost measured at calibration: synaptic operations + MACs */
} sne_student;

/* Where a layer's membranes lie in a state that keeps them: that of streaming, and every state of a model compiled with
 * SNE_TRACE. Channels are innermost, padded to a multiple of four. A membrane is the charged one: decayed and biased,
 * as the next timestep finds it (a readout's: as it stands after the last timestep). */
typedef struct {
    uint16_t student;
    uint16_t layer;   /* position in the student, poolings counted */
    uint16_t neurons;
    uint16_t channels;
    uint8_t width;    /* bits of a membrane, 16 or 32 */
    uint8_t spiking;  /* 0: readout */
    uint32_t offset;  /* bytes from the start of the state */
} sne_layer_info;

/* Golden vectors: inputs with the reference's results under the model's default policy. */
typedef struct {
    uint32_t count;
    const uint8_t *inputs;   /* [count][input_bytes] */
    const int32_t *logits;   /* [count][n_classes] */
    const uint32_t *active;  /* [count] */
    const uint32_t *spikes;  /* [count][n_spike_layers] */
    const uint32_t *ops;     /* [count][2]: synaptic operations, MACs */
} sne_vectors;

/* Streaming, for models that take raw events: every student runs at every timestep, in a state of its own kind that
 * keeps all membranes. */
typedef struct {
    uint32_t state_bytes;
    void (*reset)(void *state);
    sne_status (*step)(void *state, const uint16_t *events, size_t n); /* one timestep; events strictly ascending */
    void (*read)(void *state, sne_result *result);                     /* logits and label as of now; costs are 0 */
} sne_stream;

/* A generated model. Every state of one starts with
 *     int32_t  logits[n_classes];
 *     uint32_t spikes[n_spike_layers];     by student, then layer; sums over the timesteps; 0 for a student not run
 */
typedef struct {
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
    const sne_stream *stream;     /* null unless the model takes raw events */
    uint8_t traced;               /* whether the state keeps the membranes (SNE_TRACE) */
} sne_model;

/* Run one inference: wake students of `model` on `input` (input_bytes bytes) as `policy` (null: the default) says.
 * `state` holds state_bytes bytes; logits and spike counts are left in it. It and a raster are aligned to words.
 * Returns SNE_OK, SNE_E_ARGUMENT or SNE_E_POLICY. */
sne_status sne_run(const sne_model *model, void *state, const void *input, const sne_policy *policy, sne_result *result);

/* Whether `n` events are indices below `inputs`, strictly ascending: SNE_OK, SNE_E_ARGUMENT or SNE_E_EVENT. A repeated
 * event would bring a weight twice, which the proven bounds do not cover. */
sne_status sne_check_events(const uint16_t *events, size_t n, size_t inputs);

/* Fill in label and margin from `n` >= 2 logits. */
void sne_decide(const int32_t *logits, size_t n, sne_result *result);

#ifdef __cplusplus
}
#endif
#endif
