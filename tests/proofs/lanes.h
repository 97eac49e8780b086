/* What the contracts in runtime_c call a membrane, for one width; what they are proven with. */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>

#if WIDTH == 16
typedef int16_t sne_lane;
#define SNE_LANE_MIN -32768
#define SNE_LANE_MAX 32767
#else
typedef int32_t sne_lane;
#define SNE_LANE_MIN -2147483648
#define SNE_LANE_MAX 2147483647
#endif
#define SNE_LANE_BITS WIDTH

/*@ predicate sne_room(integer a, integer n) = SNE_LANE_MIN + 128 * n <= a <= SNE_LANE_MAX - 127 * n; */

#endif
