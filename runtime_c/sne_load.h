/* A model as data: one relocatable block of bytes (a blob), in flash or in RAM, that is checked and then run by the kernels that
 * this build holds. `sne-edge export --format blob` writes it, and the table of kernels that models of its kind need.
 *
 *     static sne_loaded model;
 *     if (sne_load(blob, length, &NAME_kernels, &model) == SNE_OK) ... sne_run_loaded(&model, state, input, NULL, &result);
 *
 * A blob is not trusted: whatever its bytes are, sne_load refuses it, or running it stays within the blob, the input and
 * STATE_BYTES of state. It must not change while it is in use. A blob holds weights as one family of cores wants them, and its
 * numbers lowest byte first; a core with the other order refuses it. */
#ifndef SNE_LOAD_H
#define SNE_LOAD_H

#include "sne_model.h"
#include "sne_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SNE_LOAD_STUDENTS
#define SNE_LOAD_STUDENTS 8 /* that a loaded model may have at most: 8, 16 or 32 */
#endif

#define SNE_BLOB_MAGIC 0x42454e53u /* "SNEB" */
#define SNE_BLOB_VERSION 2u

/* How weights lie (sne_weights.h), and whether axes may have more than 65535 pairs (sne_tables.h). */
enum { SNE_ORDER_PLAIN, SNE_ORDER_BY_OUTPUT, SNE_ORDER_DSP, SNE_ORDER_SWAR, SNE_ORDER_THUMB1, SNE_ORDER_WIDE = 256 };
#if defined(SNE_DSP)
#define SNE_ORDER_HERE SNE_ORDER_DSP
#elif defined(SNE_THUMB2) || defined(SNE_WORDS)
#define SNE_ORDER_HERE SNE_ORDER_SWAR
#elif defined(SNE_THUMB1)
#define SNE_ORDER_HERE SNE_ORDER_THUMB1
#elif defined(SNE_BY_OUTPUT)
#define SNE_ORDER_HERE SNE_ORDER_BY_OUTPUT
#else
#define SNE_ORDER_HERE SNE_ORDER_PLAIN
#endif
#if defined(SNE_WIDE)
#define SNE_ORDER (SNE_ORDER_HERE | SNE_ORDER_WIDE)
#else
#define SNE_ORDER SNE_ORDER_HERE
#endif

/* What a kernel is made for, in bits: which one (SNE_MAXPOOL beside those of sne_tables.h), shifted currents, weights of 4 bits,
 * membranes of 32, the decay and its shift, the reset, a clamp, a readout. */
enum { SNE_MAXPOOL = 8 };
#define SNE_KIND_KERNEL(kind) ((kind) & 15u)
#define SNE_KIND_SHIFTED(kind) ((kind) >> 4 & 1u)
#define SNE_KIND_NIBBLES(kind) ((kind) >> 5 & 1u)
#define SNE_KIND_WIDE(kind) ((kind) >> 6 & 1u)
#define SNE_KIND_DECAY(kind) ((kind) >> 7 & 3u)
#define SNE_KIND_SHIFT(kind) ((kind) >> 9 & 31u)
#define SNE_KIND_CLAMP(kind) ((kind) >> 16 & 1u)
#define SNE_KIND_READOUT(kind) ((kind) >> 17 & 1u)
#define SNE_KIND_PAIRS(kind) ((kind) >> 18 & 1u) /* multiplied inputs come in twos on every core: a graph's */

/* A kernel that this build holds. */
typedef struct {
    uint32_t kind;
    uint32_t (*run)(const void *layer, const sne_neurons *neurons, const sne_job *job, sne_cost *cost);
} sne_kernel;

struct sne_graph_kernels; /* sne_load_graph.h */
struct sne_graph_loader;  /* sne_load_run.h */

typedef struct {
    const sne_kernel *kernels;
    uint32_t n_kernels;
    uint32_t order; /* of weights, that they take, and SNE_ORDER_WIDE beside it */
    const struct sne_graph_kernels *graphs; /* null, as what runs them, where this build runs chains of layers alone */
    const struct sne_graph_loader *graph_loader;
    uint8_t wraps; /* all of this was compiled with -fwrapv: sums that no proof bounds may wrap */
} sne_kernels;

/* A loaded model, in memory of the caller's. Of `model`, sizes and names may be read; it is run by the functions below alone. */
typedef struct {
    sne_model model;
    sne_policy policy;
    sne_rejection rejection;
    sne_student students[SNE_LOAD_STUDENTS];
    const uint8_t *blob;
    const sne_kernels *kernels;
    uint32_t stream_bytes; /* of the state of a stream; 0: the model takes none */
} sne_loaded;

/* Check the `length` bytes at `blob`, which lies at a word, and make `loaded` of them. After an error `loaded` is as it was.
 * Returns SNE_OK, SNE_E_ARGUMENT, SNE_E_BLOB (no blob), SNE_E_VERSION (a blob of another version), SNE_E_DAMAGED (its length or
 * its CRC is wrong), SNE_E_ORDER (for another family of cores), SNE_E_STUDENTS (more of them than SNE_LOAD_STUDENTS),
 * SNE_E_KERNELS (it needs a kernel that this build doesn't hold), SNE_E_TABLES (its numbers don't belong together),
 * SNE_E_PLACES (its parts have no room in its state) or SNE_E_SUMS (a sum might not fit in 32 bits, and these kernels are not made
 * for such: export this model with the others). */
SNE_CHECKED sne_status sne_load(const void *blob, size_t length, const sne_kernels *kernels, sne_loaded *loaded);

/* sne_run of a loaded model: `state` holds loaded->model.state_bytes, `input` loaded->model.input_bytes. */
SNE_CHECKED sne_status sne_run_loaded(const sne_loaded *loaded, void *state, const void *input, const sne_policy *policy,
                                      sne_result *result);

/* A stream without end, of a model whose `stream_bytes` are not 0: all students, one timestep a call, in a state of so many
 * bytes, at a word. Reset once, then step at every timestep and read at any time. A timestep is the indices of inputs that
 * spiked, strictly ascending (step), or, of a model that takes frames, n_inputs values (take). Costs that are read are 0.
 * Return SNE_OK, SNE_E_ARGUMENT or SNE_E_EVENT. */
SNE_CHECKED sne_status sne_reset_loaded(const sne_loaded *loaded, void *state);
SNE_CHECKED sne_status sne_step_loaded(const sne_loaded *loaded, void *state, const uint16_t *events, size_t n);
SNE_CHECKED sne_status sne_take_loaded(const sne_loaded *loaded, void *state, const int8_t *values);
SNE_CHECKED sne_status sne_read_loaded(const sne_loaded *loaded, void *state, sne_result *result);

#ifdef __cplusplus
}
#endif
#endif
