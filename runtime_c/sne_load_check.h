/* Whether a blob may be run: everything that kernels rely on. */
#ifndef SNE_LOAD_CHECK_H
#define SNE_LOAD_CHECK_H

#include "sne_blob.h"
#include "sne_load.h"

enum { SNE_BLOB_STARTS = 8 }; /* bytes that say what it is: those of every version */

/* Bytes that graphs need in a state for what is made of the blob; in a stream's. */
typedef struct {
    uint32_t bytes, stream_bytes;
} sne_room_made;

/* SNE_OK, or one of sne_load's errors but SNE_E_ARGUMENT; then `made` is as it was. */
sne_status sne_check_blob(const uint8_t *blob, size_t length, const sne_kernels *kernels, sne_room_made *made);

/* The kernel of that kind; null where the build holds none. */
const sne_kernel *sne_find_kernel(const sne_kernels *kernels, uint32_t kind);

/* Words of logits and spike counts, with which every state starts. */
SNE_INLINE uint32_t sne_head_words(const sne_blob *head)
{
    return (uint32_t)head->n_classes + (head->n_spike_layers ? head->n_spike_layers : 1u);
}

#endif
