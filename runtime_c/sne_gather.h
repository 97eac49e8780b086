/* Gather: the rows of the spikes that one output position sees, added at once; of a direct input, multiplied. */
#ifndef SNE_GATHER_H
#define SNE_GATHER_H

#include "sne_list.h"
#include "sne_multiply.h"

/* Add the rows of the spikes in view to `v`, listing up to `capacity` at a time. Returns their number. */
SNE_INLINE uint32_t sne_gather(const sne_synapses *p, const sne_view *look, const uint32_t *bits, void *v, size_t stride,
                               uint32_t *rows, size_t capacity, int width, int weight_bits, int turned)
{
    const size_t pitch = sne_pitch(stride, weight_bits);
    sne_view view;
    uint32_t total = 0;
#if defined(SNE_LIST_ALL)
    if (look->fits) {
        const uint32_t *const end = SNE_LIST_ALL(look, bits, pitch, rows);
        if (end != rows) {
            sne_bring_rows(v, p->weight, rows, end, stride, width, weight_bits, turned);
        }
        return (uint32_t)(end - rows);
    }
#endif
    view = *look;
    do {
        const uint32_t *const end = sne_list(&view, bits, pitch, rows, rows + capacity - 32);
        if (end != rows) {
            sne_bring_rows(v, p->weight, rows, end, stride, width, weight_bits, turned);
            total += (uint32_t)(end - rows);
        }
    } while (view.runs);
    return total;
}

#if defined(SNE_MAC_SEEN_8)

/* Add the rows of the values in view, times the values, to `v`; of `view`, rows are numbers of inputs. Returns how many
 * values are not zero. */
SNE_OUTLINE uint32_t sne_gather_mac(const sne_synapses *p, const sne_view *view, const int8_t *x, void *v, size_t stride,
                                    uint32_t *pairs, int width)
{
    const int8_t *const values = x + view->from;
    const size_t pitch = 2u * stride;
    uint32_t zeros = 0;
    int32_t few[8];
    size_t j, k;
    (void)pairs; /* nothing is listed */
    for (j = 0; j < stride; j += 8u) {
        const size_t count = stride - j < 8u ? 4u : 8u;
        int32_t *const sums = width == 32 ? (int32_t *)v + j : few;
        for (k = 0; width == 16 && k < count; k++) {
            few[k] = sne_get(v, j + k, 16);
        }
        zeros = count == 8u ? SNE_MAC_SEEN_8(sums, p->weight + 2u * j, values, view, pitch)
                            : SNE_MAC_SEEN_4(sums, p->weight + 2u * j, values, view, pitch);
        for (k = 0; width == 16 && k < count; k++) {
            sne_put(v, j + k, few[k], 16);
        }
    }
    return view->runs * view->count - zeros;
}

#else

/* List two inputs' values with their row, unless both are 0; a single one takes 1 from `total`. Returns the list's end. */
SNE_INLINE uint32_t *sne_list_two(uint32_t values, uint32_t row, uint32_t *pairs, uint32_t *total)
{
    if (values) {
        pairs[0] = row;
        pairs[1] = values;
        pairs += 2;
        if ((int16_t)(uint16_t)values * ((int32_t)values >> 16) == 0) {
            --*total;
        }
    }
    return pairs;
}

/* Add the rows of the values in view, times the values, to `v`; of `view`, rows are numbers of inputs. Returns how many
 * values are not zero. */
SNE_INLINE uint32_t sne_gather_mac(const sne_synapses *p, const sne_view *view, const int8_t *x, void *v, size_t stride,
                                   uint32_t *pairs, int width)
{
    const uint32_t step = 2u * (uint32_t)stride;
    uint32_t *end = pairs, *const full = pairs + (p->capacity & ~1u);
    uint32_t runs = view->runs, input = view->row, total = 0;
    const int8_t *run = x + view->from;
    for (; runs; runs--, run += view->from_step, input += view->row_step) {
        const int8_t *at = run;
        uint32_t row = (input >> 1) * step, left = view->count, second = input & 1u;
        while (left) {
            const uint32_t room = (uint32_t)(full - end), take = left < room ? left : room;
            const int8_t *const stop = at + (take & ~1u);
            if (room == 0) {
                sne_mac(v, p->weight, stride, pairs, (size_t)(end - pairs), width);
                total += (uint32_t)(end - pairs); /* two values an entry */
                end = pairs;
            } else if (second) { /* the run starts in the middle of two inputs */
                end = sne_list_two((uint32_t)*at++ << 16, row, end, &total);
                second = 0;
                left--;
                row += step;
            } else {
                left -= take;
                for (; at != stop; at += 2, row += step) {
                    end = sne_list_two(sne_two_values(at), row, end, &total);
                }
                if (take & 1u) { /* and ends there */
                    end = sne_list_two((uint32_t)*at & 0xffffu, row, end, &total);
                }
            }
        }
    }
    sne_mac(v, p->weight, stride, pairs, (size_t)(end - pairs), width);
    return total + (uint32_t)(end - pairs);
}

#endif
#endif
