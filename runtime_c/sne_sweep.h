/* Sweep: spikes listed once for a row of output positions. */
#ifndef SNE_SWEEP_H
#define SNE_SWEEP_H

#include "sne_gather.h"

/* Bring the spikes that output row `y` sees to its positions. Columns are counted from the padding on: a position's window
 * begins at its own number times the stride. Returns the number of rows added. */
SNE_INLINE uint32_t sne_sweep(const sne_synapses *p, uint32_t y, const uint32_t *bits, void *v, size_t stride,
                              uint32_t *rows, int width, int weight_bits)
{
    const size_t pitch = sne_pitch(stride, weight_bits);
    const uint32_t padding = p->padding_width, kernel = p->kernel_width, step = p->stride_width;
    const uint32_t span = (p->out_width - 1u) * step + kernel; /* columns that any position sees */
    const uint32_t length = p->in_width + padding < span ? p->in_width + padding : span;
    const uint32_t column = p->in_channels * (uint32_t)pitch;
    const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
    uint32_t *const list = rows + span + 1u, *const stop = rows + p->capacity;
    uint32_t first = 0, total = 0, low, high;
    sne_band band;
    sne_clip(top, p->kernel_height, p->in_height, &low, &high);
    band.runs = high - low;
    band.channels = p->in_channels;
    band.pitch = (uint32_t)pitch;
    band.width = length - padding;
    band.from_step = (uint32_t)p->in_width * band.channels;
    band.from = (uint32_t)(top + (int32_t)low) * band.from_step;
    band.row_step = kernel * column;
    band.row = low * band.row_step;
    band.words = band.channels <= 32u && (band.channels & (band.channels - 1u)) == 0 && (band.from_step & 31u) == 0 &&
                 list + band.runs * band.channels <= stop;
    do {
        const uint32_t *const full = stop - (band.words ? band.runs * band.channels : 32u);
        const uint32_t x = first < padding ? 0u : first - padding, begin = x + padding;
        uintptr_t weight = (uintptr_t)p->weight + (uintptr_t)((begin - first) * column);
        uint32_t *end = rows;
        const uint32_t *at, *last;
        while (end != rows + (begin - first)) {
            *end++ = 0;
        }
        end = sne_list_columns(&band, bits, x, end, list, full);
        if (end == rows + (length + 1u - first)) { /* all: there is nothing in the padding behind */
            while (end <= rows + (span - first)) {
                *end = end[-1];
                end++;
            }
        }
        last = end - kernel;
        for (at = rows; at < last; at += step, weight -= (uintptr_t)(step * column)) {
            const uint32_t n = at[kernel] - at[0];
            if (n) {
                const uint32_t *const from = list + at[0];
                sne_bring_rows(v, (const sne_weight *)weight, from, from + n, stride, width, weight_bits, 0);
                total += n;
            }
            v = sne_at(v, stride, width);
        }
        if (at == rows) { /* so many spikes that not even one position's fit */
            sne_view view;
            sne_look(p, pitch, y, first / step, &view);
            view.fits = 0; /* the list is not all of `rows` */
            total += sne_gather(p, &view, bits, v, stride, list, (size_t)(stop - list), width, weight_bits, 0);
            v = sne_at(v, stride, width);
            at += step;
        }
        first += (uint32_t)(at - rows);
    } while (first + kernel <= span);
    return total;
}

#endif
