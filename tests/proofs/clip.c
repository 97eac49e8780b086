/* The taps of a kernel that lie within an axis, for every position that a model can have. */
#define WIDTH 16
#include "lanes.h"
#include "sne_list.h"

/*@ requires 1 <= kernel <= 255 && 1 <= stride <= 255 && 0 <= padding < kernel && 1 <= length <= 65535;
    requires 0 <= position && position * stride - padding < length;
    requires \valid(low) && \valid(high) && \separated(low, high);
    assigns *low, *high;
    ensures *low < *high; */
void proof(uint32_t position, uint32_t stride, uint32_t padding, uint32_t kernel, uint32_t length, uint32_t *low,
           uint32_t *high)
{
    /*@ assert 0 <= position * stride <= 131070; */
    sne_clip((int32_t)(position * stride) - (int32_t)padding, kernel, length, low, high);
}
