/* Layers, encoders and the head.
 *
 * A layer runs through all timesteps, tile by tile: only one tile's membranes exist. Spikes are bits, in channel-last
 * order, each timestep's from a whole word on. Like the neurons' functions, these are inlined into generated callers
 * with their choices as constants. These kernels bring spikes to membranes:
 *
 *   gather   a tile is one output position. The spikes that it sees lie in a few runs of bits, and consecutive bits have
 *            consecutive rows of weights; the rows of those that spiked are listed and added at once. A linear layer
 *            is one position that sees one run. The same way `mac` lists and multiplies a direct input's values, in twos.
 *   convolve the same of a direct input's convolution, two positions at a time and nothing listed.
 *   sweep    a tile is one row of output positions. The spikes that they see are listed once for all of them, column by
 *            column of the input: a position's are then neighbours in the list, and their rows are as far from each
 *            other as another position's. For convolutions whose windows overlap.
 *   scatter  a tile is one row of output positions. Each spike of the input rows that it sees is brought to the
 *            positions that it reaches: better where hardly any spike, and after average pooling, which needs no pass of its
 *            own: the tables see through it.
 *   overlap  as scatter, after average pooling whose windows overlap: a spike reaches a position through more than one tap.
 *   collect  a linear layer after average pooling: listed and added as by gather, found as by scatter.
 *   depthwise  as scatter, but a spike reaches its own channel only: one weight a position. */
#ifndef SNE_KERNELS_H
#define SNE_KERNELS_H

#include "sne_encode.h"
#include "sne_layer.h"

#endif
