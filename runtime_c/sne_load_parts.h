/* What the parts of a blob's check share. */
#ifndef SNE_LOAD_PARTS_H
#define SNE_LOAD_PARTS_H

#include "sne_load_check.h"

typedef struct {
    const uint8_t *blob;
    const sne_blob *head;
    const sne_kernels *kernels;
    uint64_t arena; /* words */
} sne_checked;

#define SNE_MOST_LOGIT ((uint64_t)1 << 30) /* of a logit, signs aside: two of them differ by less than 2^31 */
#define SNE_MOST_SUM 0x7fffffffu

/* Do so many bytes lie in the blob, behind its header, from a word on? */
SNE_INLINE int sne_lies(const sne_checked *c, uint32_t offset, uint64_t bytes)
{
    return (offset & 3u) == 0 && offset >= sizeof(sne_blob) && offset <= c->head->length && bytes <= c->head->length - offset;
}

SNE_INLINE const uint16_t *sne_halves_at(const sne_checked *c, uint32_t offset)
{
    return (const uint16_t *)(const void *)(c->blob + offset);
}

SNE_INLINE const int32_t *sne_words_at(const sne_checked *c, uint32_t offset)
{
    return (const int32_t *)(const void *)(c->blob + offset);
}

/* sne_load_tables.c: a stage, all that its kernel relies on but its places. `first`: it takes the input; `reached`: how far from 0
 * its membranes get, at most. */
int sne_stage_fits(const sne_checked *c, const sne_blob_stage *s, int first, uint64_t *reached);

/* What a timestep adds to one of a readout's outputs where every input spikes, signs aside; more than SNE_MOST_SUM where that
 * would take too long to find out. */
uint64_t sne_readout_sum(const sne_checked *c, const sne_blob_stage *s, uint32_t output);

/* sne_load_places.c: a stage's places through all timesteps; `first`: its input lies outside, unless it is encoded. And those of a
 * student that may end early, timestep by timestep. */
int sne_places_fit(const sne_checked *c, const sne_blob_stage *s, int first);
int sne_steps_fit(const sne_checked *c, const sne_blob_student *student, const sne_blob_stage *stages);

#endif
