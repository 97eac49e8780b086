/* A list of rows summed in 16-bit lanes, for int32 membranes: as many as the contract of sne_add_rows_32 allows, of any weights.
 * ROWS more than that, or SNE_MOST_ROWS greater than it is, must not be proven. */
#include <__fc_builtin.h>
#define WIDTH 16
#include "lanes.h"
#include "sne_accumulate_portable.h"

static void sne_add_rows_lanes(uint32_t *sums, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                               size_t stride, int turned)
{
    (void)turned;
    sne_add_rows_portable(sums, weight, rows, end, stride, 16);
}
#define SNE_ADD(function) function##_lanes
#include "sne_accumulate_lanes.h"

#ifndef ROWS
#define ROWS SNE_MOST_ROWS
#endif
enum { STRIDE = 36, TABLE = 3 }; /* a block of lanes and the start of another */

static int32_t v[STRIDE];
static sne_weight table[STRIDE * TABLE];
static uint32_t rows[ROWS];

int main(void)
{
    size_t i;
    for (i = 0; i < STRIDE * TABLE; i++) {
        table[i] = (sne_weight)Frama_C_interval(-128, 127);
    }
    for (i = 0; i < ROWS; i++) {
        rows[i] = STRIDE * (uint32_t)Frama_C_interval(0, TABLE - 1);
    }
    for (i = 0; i < STRIDE; i++) {
        v[i] = Frama_C_interval(-1000000, 1000000);
    }
    sne_add_rows_32(v, table, rows, rows + ROWS, STRIDE);
    return 0;
}
