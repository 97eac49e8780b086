/* Graphs of a loaded model: the kernels that a build holds for them. */
#ifndef SNE_LOAD_GRAPH_H
#define SNE_LOAD_GRAPH_H

#include "sne_graph.h"
#include "sne_load_run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which kernel brings a projection's spikes or values, in the bits of sne_load.h: which one, weights of 4 bits, targets of 32. */
typedef struct {
    uint32_t kind;
    sne_bring_function bring;
} sne_bring_kernel;

/* Which neurons a kernel fires, in bits: beside width, decay, its shift and a clamp, those of sne_load.h, whether a core fires them
 * by what it has for chains, whether they spike, are alpha neurons, have each a drive of its own; the reset (sne_cells.h); and of a
 * synaptic current 1 or 2 times 16 bits (0: there is none), its decay and that one's shift. */
#define SNE_FIRE_PLAIN(kind) ((kind) & 1u)
#define SNE_FIRE_SPIKING(kind) ((kind) >> 1 & 1u)
#define SNE_FIRE_ALPHA(kind) ((kind) >> 2 & 1u)
#define SNE_FIRE_EACH(kind) ((kind) >> 3 & 1u)
#define SNE_FIRE_RESET(kind) ((kind) >> 17 & 7u)
#define SNE_FIRE_CURRENT(kind) ((kind) >> 20 & 3u)
#define SNE_FIRE_CURRENT_DECAY(kind) ((kind) >> 22 & 3u)
#define SNE_FIRE_CURRENT_SHIFT(kind) ((kind) >> 24 & 31u)

/* `cells` is the start of an sne_loaded_cells. */
typedef struct {
    uint32_t kind;
    sne_cells_function fire;
} sne_fire_kernel;

typedef struct {
    sne_cells cells;
    sne_alpha alpha;
    int32_t current_decay; /* factor in q15 */
} sne_loaded_cells;

struct sne_graph_kernels {
    const sne_bring_kernel *brings;
    const sne_fire_kernel *fires;
    uint32_t n_brings, n_fires;
};

/* What is made of a blob's graph, in a state. Behind it lie populations, their cells, projections, synapses and poolings. */
typedef struct {
    sne_graph graph;
    const sne_blob_graph *from;
    uint8_t *end;
    uint32_t timesteps;
} sne_made_graph;

/* The kernels of a kind; null where the build holds none. */
const sne_bring_kernel *sne_find_bring(const struct sne_graph_kernels *kernels, uint32_t kind);
const sne_fire_kernel *sne_find_fire(const struct sne_graph_kernels *kernels, uint32_t kind);

/* sne_load_graph_check.c: sne_graph_loader's. */
sne_status sne_check_graph(sne_checked *c, const sne_blob_student *student, uint64_t *logit);

extern const struct sne_graph_loader sne_graph_loader;

#ifdef __cplusplus
}
#endif
#endif
