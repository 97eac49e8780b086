/* Pooling: a linear layer that sees through average pooling, and max pooling. */
#ifndef SNE_POOLING_H
#define SNE_POOLING_H

#include "sne_list.h"

/* Add the rows of the spikes that a linear layer sees through average pooling. Returns their number. */
SNE_INLINE uint32_t sne_collect(const sne_synapses *p, const uint32_t *bits, void *v, size_t stride, uint32_t *rows,
                                int width, int weight_bits)
{
    const uint32_t pitch = (uint32_t)sne_pitch(stride, weight_bits);
    const uint32_t length = (uint32_t)p->in_width * p->in_channels;
    const uint32_t tap = p->in_channels * pitch;
    const sne_pair *row = p->rows.pairs, *const last = p->rows.pairs + p->rows.start[1];
    uint32_t *end = rows;
    uint32_t total = 0;
    for (; row != last; row++) {
        const uint32_t base = (uint32_t)row->tap * p->kernel_width * tap;
        sne_bits in = sne_some_bits(bits, row->position * length, length);
        do {
            uint32_t spikes = sne_next_word(&in);
            for (; spikes; spikes &= spikes - 1u) {
                const uint32_t i = in.index + sne_lowest_bit(spikes), x = sne_divide(i, &p->divide);
                const uint32_t w = base + (i - x * p->in_channels) * pitch;
                const sne_pair *pair = p->columns.pairs + p->columns.start[x];
                for (; pair != p->columns.pairs + p->columns.start[x + 1u]; pair++) {
                    *end++ = w + pair->tap * tap;
                    total++;
                    if (end == rows + p->capacity) {
                        sne_bring_rows(v, p->weight, rows, end, stride, width, weight_bits, 0);
                        end = rows;
                    }
                }
            }
        } while (in.word != in.end);
    }
    if (end != rows) {
        sne_bring_rows(v, p->weight, rows, end, stride, width, weight_bits, 0);
    }
    return total;
}

/* Max pooling: a spike for each window that holds any. */
SNE_INLINE void sne_maxpool(const sne_pooling *p, const sne_job *job)
{
    const uint32_t channels = p->divide.divisor;
    const size_t inputs = (size_t)p->in_height * p->in_width * p->divide.divisor, in_words = sne_words(inputs);
    const size_t out_words = sne_words((size_t)p->out_height * p->out_width * p->divide.divisor);
    size_t i;
    uint32_t t;
    for (t = 0; t < job->timesteps; t++) {
        const uint32_t *in = job->in + t * in_words;
        uint32_t *out = job->out + t * out_words;
        sne_clear(out, out_words);
        for (i = 0; i < in_words; i++) {
            uint32_t spikes = in[i];
            if (inputs - (i << 5) < 32u) {
                spikes &= ((uint32_t)1 << (inputs - (i << 5))) - 1u;
            }
            for (; spikes; spikes &= spikes - 1u) {
                const uint32_t place = (uint32_t)(i << 5) + sne_lowest_bit(spikes);
                const uint32_t position = sne_divide(place, &p->divide), c = place - position * channels;
                const uint32_t y = position / p->in_width, x = position - y * p->in_width;
                const sne_pair *row, *column;
                for (row = p->rows.pairs + p->rows.start[y]; row != p->rows.pairs + p->rows.start[y + 1u]; row++) {
                    column = p->columns.pairs + p->columns.start[x];
                    for (; column != p->columns.pairs + p->columns.start[x + 1u]; column++) {
                        sne_set_bit(out, (size_t)(((uint32_t)row->position * p->out_width + column->position) * channels + c));
                    }
                }
            }
        }
    }
}

#endif
