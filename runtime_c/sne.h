/* sne-edge runtime: what a caller of an exported model needs: policies, results, and how to run one inference.
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

#if defined(__GNUC__) /* a result that is not looked at is warned of */
#define SNE_CHECKED __attribute__((warn_unused_result))
#else
#define SNE_CHECKED
#endif

/* Version of the runtime; generated code refuses another one. */
#define SNE_RUNTIME_VERSION 6

/* A label: none of the classes. (int)SNE_NONE is -1. */
#define SNE_NONE 0xffffffffu

/* Status codes: 0 is success, errors are negative. Those from -16 on belong to the wire protocol (sne_wire.h). */
typedef enum {
    SNE_OK = 0,
    SNE_E_ARGUMENT = -1, /* a pointer is null or not at a word, or a number out of range */
    SNE_E_POLICY = -2,   /* the policy does not fit the model */
    SNE_E_EVENT = -3,    /* events are not ascending indices of the model's inputs */
    SNE_E_BLOB = -4,     /* bytes are no model (this and those below: sne_load.h) */
    SNE_E_KERNELS = -5,  /* a loaded model needs a kernel that this build does not hold */
    SNE_E_TABLES = -6,   /* a loaded model's numbers do not belong together */
    SNE_E_VERSION = -7,  /* a loaded model is of another version of blobs */
    SNE_E_DAMAGED = -8,  /* a loaded model's length or CRC is wrong */
    SNE_E_ORDER = -9,    /* a loaded model is for another family of cores */
    SNE_E_STUDENTS = -10, /* a loaded model has more students than this build has room for */
    SNE_E_PLACES = -11,  /* parts of a loaded model have no room in its state */
    SNE_E_SUMS = -12     /* sums of a loaded model might not fit in 32 bits */
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
    uint32_t label;        /* index of the highest logit, the lowest such index on a tie; SNE_NONE where the model was
                            * calibrated to reject inputs and rejects this one (sne_decide says what it is nearest to) */
    int32_t margin;        /* highest minus second highest logit */
    uint32_t active;       /* mask of the students that ran */
    uint32_t students_run;
    uint32_t stop;         /* sne_stop */
    uint32_t timesteps;    /* of the last student; those before it ran all that the policy says */
    sne_cost cost;
} sne_result;

/* A generated model: the header made with it names it, its sizes and the functions that run it; sne_model.h has its fields. */
typedef struct sne_model sne_model;

/* Run one inference: wake students of `model` on `input` (the model's INPUT_BYTES) as `policy` (null: the default) says.
 * `state` holds its STATE_BYTES; logits and spike counts are left in it. It and a raster lie at words.
 * Returns SNE_OK, SNE_E_ARGUMENT or SNE_E_POLICY. */
SNE_CHECKED sne_status sne_run(const sne_model *model, void *state, const void *input, const sne_policy *policy, sne_result *result);

/* Whether `n` events are indices below `inputs`, strictly ascending: SNE_OK, SNE_E_ARGUMENT or SNE_E_EVENT. A repeated
 * event would bring a weight twice, which the proven bounds do not cover. */
SNE_CHECKED sne_status sne_check_events(const uint16_t *events, size_t n, size_t inputs);

/* Fill in label and margin from `n` logits, the margin of a single one being 0. */
void sne_decide(const int32_t *logits, size_t n, sne_result *result);

#ifdef __cplusplus
}
#endif
#endif
