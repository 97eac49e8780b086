/* Counts by layer. Firmware with SNE_PROFILE has the compiler include this before every source: the runtime's hooks call it. */
#ifndef PROFILE_H
#define PROFILE_H

#include <stdint.h>

/* Around a layer, which an address names. */
void profile_begins(const void *layer);
void profile_ends(const void *layer);

#define SNE_LAYER_BEGINS(layer) profile_begins(layer)
#define SNE_LAYER_ENDS(layer) profile_ends(layer)

/* See sne_platform. */
void profile_start(void *context);
int profile_read(void *context, uint32_t index, uint32_t *calls, uint64_t *count);

#endif
