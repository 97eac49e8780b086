/* Int32 membranes on cores that add weights to 16-bit lanes: sums start at 0 and are added to the membranes at the end, so
 * lanes must hold what a whole list of rows sums to. SNE_ADD names the core's kernel (sne_accumulate.h). */
#ifndef SNE_ACCUMULATE_LANES_H
#define SNE_ACCUMULATE_LANES_H

#include "sne_weights.h"

#ifndef SNE_MOST_ROWS
#define SNE_MOST_ROWS 256u /* of a list: so many times -128 is the least that a lane holds */
#endif

/*@ requires 1 <= end - rows <= SNE_MOST_ROWS;
    requires stride % 4 == 0 && \valid(v + (0 .. stride - 1)) && \valid_read(rows + (0 .. end - rows - 1)); */
SNE_OUTLINE void sne_add_rows_32(int32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 size_t stride)
{
    union {
        uint32_t words[16];
        int16_t lanes[32];
    } sums;
    while (stride) {
        const size_t count = stride < 32 ? stride : 32;
        size_t j;
        for (j = 0; j < count / 2; j++) {
            sums.words[j] = 0;
        }
        SNE_ADD(sne_add_rows)(sums.words, weight, rows, end, count, 0);
        for (j = 0; j < count; j++) {
            *v++ += sums.lanes[j];
        }
        weight += count;
        stride -= count;
    }
}

#endif
