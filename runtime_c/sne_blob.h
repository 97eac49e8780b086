/* How a blob lies in memory: offsets are in bytes from its start, 0 where there is nothing; places are in words from the start
 * of a state's arena, but where something else is said. sne_edge/deploy/blob.py writes the same. */
#ifndef SNE_BLOB_H
#define SNE_BLOB_H

#include "sne_core.h"

enum { SNE_BLOB_DIRECT, SNE_BLOB_RATE, SNE_BLOB_EVENTS, SNE_BLOB_FRAMES };

typedef struct SNE_ANY_MEMORY {
    uint32_t magic;
    uint16_t version, order;
    uint32_t length; /* of the blob, this header included */
    uint32_t crc;    /* CRC-32 of all that follows */
    uint8_t fingerprint[8];
    uint32_t name; /* a string's offset */
    uint32_t input_bytes, state_bytes;
    uint16_t n_inputs, n_classes, n_students, n_spike_layers, timesteps, encoder;
    uint32_t seed;
    uint32_t students, order_of, bias, margins, routes, early, rejection; /* offsets */
    uint32_t kind, first, mask, max_ops, policy_timesteps;                /* the model's own policy */
    uint32_t kept_words;       /* all membranes of all students, where they are kept */
    uint32_t stream, frontend; /* offsets */
} sne_blob;

/* What a stream's state holds, in words, in this order, behind logits and spike counts and all membranes. */
typedef struct SNE_ANY_MEMORY {
    uint32_t graphs, windows, in, map_words, rows; /* `map_words`: of each of two maps */
} sne_blob_stream;

typedef struct SNE_ANY_MEMORY {
    uint32_t stages, n_stages;
    uint32_t updates, max_ops;
    uint32_t gain, bias;
    uint32_t maps, map_words, rows, kept, first, words, whole_updates; /* where it may end early (sne_student.h) */
    uint32_t window, remembered; /* timesteps that a readout sees, 0: all; and the place of what it remembers, among windows */
    uint32_t graph;              /* offset; then there are no stages */
} sne_blob_student;

/* sne_synapses, or sne_pooling, in_channels being what it divides by. */
typedef struct SNE_ANY_MEMORY {
    uint32_t weight; /* offsets, as of the four below */
    uint32_t row_start, row_pairs, column_start, column_pairs;
    uint32_t multiplier;
    uint16_t shift, divisor;
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t padding_height, padding_width;
    uint16_t capacity;
} sne_blob_synapses;

typedef struct SNE_ANY_MEMORY {
    uint32_t kind; /* sne_load.h */
    sne_blob_synapses synapses;
    uint32_t threshold, bias; /* offsets */
    uint16_t channels, stride, decay, current_shift;
    int32_t clamp_low, clamp_high;
    uint32_t in, out, membranes, current, rows, kept;
    int32_t spikes;
} sne_blob_stage;

/* A student that is a graph; what is left out is in sne_graph.h. `kept_words` from word `first` of all membranes on are its
 * states', `work` is the place of its work among a stream's graphs. */
typedef struct SNE_ANY_MEMORY {
    uint32_t populations, n_populations, rings; /* offsets; rings as they are in sne_graph.h */
    uint32_t first, kept_words, work, work_words, scratch_words;
    uint32_t totals, maps, map_words, currents, settled;
    uint32_t decoder, decay; /* SNE_DECODE_COUNT .. */
    int32_t value, low, high;
    uint32_t clamp, window, width;
} sne_blob_graph;

typedef struct SNE_ANY_MEMORY {
    uint32_t kind; /* sne_load_graph.h */
    uint32_t threshold, bias, leak, current_leak, share, drop, projections; /* offsets */
    uint32_t membranes, currents, drive; /* places, as of sne_population */
    int32_t spikes, clamp_low, clamp_high;
    uint16_t channels, stride, positions, decay, current_decay;
    uint16_t each_threshold, each_bias, each_leak, each_current_leak, each_share, each_drop;
    uint16_t n_projections, n_values;
    uint16_t padding;
} sne_blob_population;

typedef struct SNE_ANY_MEMORY {
    uint32_t kind; /* sne_load_graph.h */
    sne_blob_synapses synapses;
    uint32_t pools, largest; /* offsets: sne_blob_synapses; sne_largest */
    uint32_t stride, cost;
    uint16_t ring, delay, n_pools, padding;
} sne_blob_projection;

/* sne_logmel. */
typedef struct SNE_ANY_MEMORY {
    uint32_t hann, sine, edges, rise; /* offsets */
    uint32_t rate;                    /* samples a second */
    uint16_t window, hop, bands, frames, preemphasis, gain;
    int16_t offset;
    uint16_t padding;
} sne_blob_frontend;

#endif
