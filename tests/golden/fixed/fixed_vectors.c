/* SPDX-License-Identifier: Apache-2.0 */
/* fixed: golden vectors, the reference's results under the model's own policy. Made by sne-edge; fingerprint 2baefca5b45cb1be.
 * Only the self-test and a device that offers them over its serial line refer to this file. */
#include "fixed.h"
#include "sne_core.h"

static const uint8_t SNE_WORD_ALIGNED inputs[108] = {
    139, 176, 213, 250, 31, 68, 105, 142, 179, 216, 253, 34, 71, 108, 145, 182,
    219, 0, 37, 74, 111, 148, 185, 222, 3, 40, 77, 114, 151, 188, 225, 6,
    43, 80, 117, 154, 191, 228, 9, 46, 83, 120, 157, 194, 231, 12, 49, 86,
    123, 160, 197, 234, 15, 52, 89, 126, 163, 200, 237, 18, 55, 92, 129, 166,
    203, 240, 21, 58, 95, 132, 169, 206, 243, 24, 61, 98, 135, 172, 209, 246,
    27, 64, 101, 138, 175, 212, 249, 30, 67, 104, 141, 178, 215, 252, 33, 70,
    107, 144, 181, 218, 255, 36, 73, 110, 147, 184, 221, 2
};
static const int32_t SNE_WORD_ALIGNED logits[9] = {
    -427, -77, 436, -297, -171, 415, -318, -173, 472
};
static const uint32_t SNE_WORD_ALIGNED active[3] = {
    2, 2, 2
};
static const uint32_t SNE_WORD_ALIGNED spikes[9] = {
    0, 0, 15, 0, 0, 12, 0, 0, 12
};
static const uint32_t SNE_WORD_ALIGNED ops[6] = {
    255, 0, 276, 0, 180, 0
};

const sne_vectors fixed_vectors = {
    3,
    inputs,
    logits,
    active,
    spikes,
    ops
};
