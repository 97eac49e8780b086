/* How a blob lies in memory: offsets are in bytes from its start, 0 where there is nothing; places are in words from the start
 * of a state's arena. sne_edge/deploy/blob.py writes the same. */
#ifndef SNE_BLOB_H
#define SNE_BLOB_H

#include "sne_core.h"

enum { SNE_BLOB_DIRECT, SNE_BLOB_RATE, SNE_BLOB_EVENTS };

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
} sne_blob;

typedef struct SNE_ANY_MEMORY {
    uint32_t stages, n_stages;
    uint32_t updates, max_ops;
    uint32_t gain, bias;
    uint32_t maps, map_words, rows, kept, first, words, whole_updates; /* where it may end early (sne_student.h) */
} sne_blob_student;

typedef struct SNE_ANY_MEMORY {
    uint32_t kind;                    /* sne_load.h */
    uint32_t weight, threshold, bias; /* offsets, as of the four below */
    uint32_t row_start, row_pairs, column_start, column_pairs;
    uint32_t multiplier;
    uint16_t shift, divisor;
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t padding_height, padding_width;
    uint16_t capacity;
    uint16_t channels, stride, decay, current_shift;
    int32_t clamp_low, clamp_high;
    uint32_t in, out, membranes, current, rows, kept;
    int32_t spikes;
} sne_blob_stage;

#endif
