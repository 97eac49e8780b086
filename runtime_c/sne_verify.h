/* What a model is verified by: its golden vectors, and where a traced state keeps each layer's membranes. The self-test, the
 * wire protocol and `sne-edge verify` read these; firmware that only runs a model does not, and its linker drops them. */
#ifndef SNE_VERIFY_H
#define SNE_VERIFY_H

#include <stdint.h>

/* Golden vectors: inputs with the reference's results under the model's default policy. */
typedef struct {
    uint32_t count;
    const uint8_t *inputs;   /* [count][input_bytes], as sne_run takes them: a raster as words */
    const int32_t *logits;   /* [count][n_classes] */
    const uint32_t *active;  /* [count] */
    const uint32_t *spikes;  /* [count][n_spike_layers] */
    const uint32_t *ops;     /* [count][2]: synaptic operations, MACs */
} sne_vectors;

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

#endif
