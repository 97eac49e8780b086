/* Accumulation in portable C, for every core and both widths; sne_accumulate.h says who uses what. */
#ifndef SNE_ACCUMULATE_PORTABLE_H
#define SNE_ACCUMULATE_PORTABLE_H

#include "sne_neuron.h"
#include "sne_weights.h"

/* A spike's rows for neighbouring positions. */
typedef struct {
    size_t stride; /* weights of a row, membranes of a position */
    size_t next;   /* bytes from a row's end back to the next one's start */
} sne_chain;

/* Four outputs stay in registers over all rows, so a membrane is read and written once. */
/*@ requires stride % 4 == 0 && stride <= 65532 && 0 <= end - rows && end == rows + (end - rows);
    requires \valid((sne_lane *)v + (0 .. stride - 1)) && \valid_read(rows + (0 .. end - rows - 1));
    requires \forall uint32_t *r; rows <= r < end && \valid_read(r) ==> \valid_read(weight + (*r .. *r + stride - 1));
    requires \separated((sne_lane *)v + (0 .. stride - 1), rows + (0 .. end - rows - 1));
    requires \forall integer j; 0 <= j < stride ==> sne_room(((sne_lane *)v)[j], end - rows);
    requires width == SNE_LANE_BITS;
    assigns ((sne_lane *)v)[0 .. stride - 1]; */
SNE_INLINE void sne_add_rows_portable(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                      size_t stride, int width)
{
    const uint32_t *row;
    size_t j;
    /*@ loop invariant 0 <= j <= stride && j % 4 == 0;
        loop invariant \forall integer k; j <= k < stride ==> ((sne_lane *)v)[k] == \at(((sne_lane *)v)[k], Pre);
        loop assigns j, row, ((sne_lane *)v)[0 .. stride - 1];
        loop variant stride - j; */
    for (j = 0; j < stride; j += 4) {
        int32_t a0 = sne_get(v, j, width), a1 = sne_get(v, j + 1, width);
        int32_t a2 = sne_get(v, j + 2, width), a3 = sne_get(v, j + 3, width);
        /*@ loop invariant 0 <= row - rows <= end - rows && row == rows + (row - rows);
            loop invariant sne_room(a0, (end - rows) - (row - rows));
            loop invariant sne_room(a1, (end - rows) - (row - rows));
            loop invariant sne_room(a2, (end - rows) - (row - rows));
            loop invariant sne_room(a3, (end - rows) - (row - rows));
            loop assigns row, a0, a1, a2, a3;
            loop variant (end - rows) - (row - rows); */
        for (row = rows; row != end; row++) {
            const sne_weight *w = weight + *row + j;
            /*@ assert \valid_read(weight + (*row .. *row + stride - 1)); */
            a0 += sne_weight_of_four(w, 0);
            a1 += sne_weight_of_four(w, 1);
            a2 += sne_weight_of_four(w, 2);
            a3 += sne_weight_of_four(w, 3);
        }
        sne_put(v, j, a0, width);
        sne_put(v, j + 1, a1, width);
        sne_put(v, j + 2, a2, width);
        sne_put(v, j + 3, a3, width);
    }
}

/*@ requires stride % 4 == 0 && stride <= 65532;
    requires \valid((sne_lane *)v + (0 .. stride - 1)) && \valid_read(weight + (0 .. stride - 1));
    requires \forall integer j; 0 <= j < stride ==> sne_room(((sne_lane *)v)[j], 1);
    requires width == SNE_LANE_BITS;
    assigns ((sne_lane *)v)[0 .. stride - 1]; */
SNE_INLINE void sne_add_row_portable(void *v, const sne_weight *weight, size_t stride, int width)
{
    size_t j;
    /*@ loop invariant 0 <= j <= stride && j % 4 == 0;
        loop invariant \forall integer k; j <= k < stride ==> ((sne_lane *)v)[k] == \at(((sne_lane *)v)[k], Pre);
        loop assigns j, ((sne_lane *)v)[0 .. stride - 1];
        loop variant stride - j; */
    for (j = 0; j < stride; j += 4) {
        const sne_weight *w = weight + j;
        sne_put(v, j, sne_get(v, j, width) + sne_weight_of_four(w, 0), width);
        sne_put(v, j + 1, sne_get(v, j + 1, width) + sne_weight_of_four(w, 1), width);
        sne_put(v, j + 2, sne_get(v, j + 2, width) + sne_weight_of_four(w, 2), width);
        sne_put(v, j + 3, sne_get(v, j + 3, width) + sne_weight_of_four(w, 3), width);
    }
}

#endif
