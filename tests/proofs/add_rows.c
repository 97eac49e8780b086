/* Rows of weights, and one row, added to membranes in portable C: from 0 on, 256 rows of any weights fit. */
#include "lanes.h"
#include "sne_accumulate_portable.h"

/*@ requires 1 <= n <= 256 && stride % 4 == 0 && stride <= 1024;
    requires \valid(v + (0 .. stride - 1)) && \valid_read(rows + (0 .. n - 1));
    requires \separated(v + (0 .. stride - 1), rows + (0 .. n - 1));
    requires \forall uint32_t *r; rows <= r < rows + n && \valid_read(r) ==> \valid_read(weight + (*r .. *r + stride - 1));
    requires \forall integer j; 0 <= j < stride ==> v[j] == 0;
    assigns v[0 .. stride - 1]; */
void proof(sne_lane *v, const sne_weight *weight, const uint32_t *rows, uint32_t n, uint32_t stride)
{
    sne_add_rows_portable(v, weight, rows, rows + n, stride, WIDTH);
}
