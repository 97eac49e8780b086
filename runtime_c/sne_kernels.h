/* Layers, encoders and the head, event by event.
 *
 * An event is the index of an input that spiked, in channel-last order; average pooling may repeat one. Like the
 * neurons' functions, these are inlined into generated callers with `width` as a constant. Each layer's `add` returns
 * the synaptic operations it did, each `mac` the multiply-accumulates. */
#ifndef SNE_KERNELS_H
#define SNE_KERNELS_H

#include "sne.h"
#include "sne_accumulate.h"
#include "sne_fire.h"
#include "sne_neuron.h"

typedef struct {
    const int8_t *weight; /* [inputs][outputs] */
    uint16_t inputs;
    uint16_t outputs;
} sne_linear;

/* Along one axis, what one input position reaches: `count` outputs from `out` on, through `count` consecutive taps
 * from `tap` on. Taps are stored in the order in which consecutive outputs meet them. */
typedef struct {
    uint16_t out;
    uint8_t count;
    uint8_t tap;
} sne_span;

/* Division by a constant for i < 65536: (i * multiplier) >> shift, or a real one where the multiplier is 0. */
typedef struct {
    uint32_t multiplier;
    uint16_t shift;
    uint16_t divisor;
} sne_divider;

/* A map of inputs, seen by a window that slides over it. */
typedef struct {
    const sne_span *rows;    /* [input height] */
    const sne_span *columns; /* [input width] */
    sne_divider channels;
    sne_divider width;
    uint16_t inputs;
    uint16_t out_width;
} sne_window;

typedef struct {
    sne_window window;
    const int8_t *weight; /* [input channels][taps, vertical][taps, horizontal][output channels] */
    uint16_t out_channels;
    uint8_t kernel_height;
    uint8_t kernel_width;
} sne_conv;

SNE_INLINE uint32_t sne_divide(uint32_t i, const sne_divider *d)
{
    return d->multiplier ? (i * d->multiplier) >> d->shift : i / d->divisor;
}

/* Position of input `i`: its spans, and its channel. */
SNE_INLINE uint32_t sne_locate(const sne_window *p, uint32_t i, const sne_span **row, const sne_span **column)
{
    const uint32_t position = sne_divide(i, &p->channels);
    const uint32_t y = sne_divide(position, &p->width);
    *row = p->rows + y;
    *column = p->columns + (position - y * p->width.divisor);
    return i - position * p->channels.divisor;
}

SNE_INLINE uint32_t sne_linear_add(const sne_linear *p, void *v, const uint16_t *events, size_t n, int width)
{
    sne_add_rows(v, p->weight, p->outputs, events, n, width);
    return (uint32_t)n * p->outputs;
}

/* One inference's constant current: v[j] += sum of weight * x over the inputs that are not zero. */
SNE_INLINE uint32_t sne_linear_mac(const sne_linear *p, void *v, const int8_t *x, int width)
{
    uint32_t i, used = 0;
    for (i = 0; i < p->inputs; i++) {
        if (x[i] != 0) {
            sne_mac_row(v, 0, p->weight + i * p->outputs, p->outputs, x[i], width);
            used++;
        }
    }
    return used * p->outputs;
}

/* Bring input `i` to every output that it reaches: its weights, or (`mac`, a constant) its weights times x. Rows of
 * outputs are `out_row` apart, rows of taps `tap_row`: the caller's loop computes them once. Returns the number of
 * positions. */
SNE_INLINE uint32_t sne_conv_reach(const sne_conv *p, size_t out_row, size_t tap_row, void *v, uint32_t i, int32_t x,
                                   int mac, int width)
{
    const size_t out_channels = p->out_channels;
    const sne_span *row, *column;
    const uint32_t channel = sne_locate(&p->window, i, &row, &column);
    const int8_t *w = p->weight + (channel * p->kernel_height + row->tap) * tap_row + column->tap * out_channels;
    const size_t count = column->count * out_channels;
    size_t first = row->out * out_row + column->out * out_channels, k;
    for (k = 0; k < row->count; k++, w += tap_row, first += out_row) {
        if (mac) {
            sne_mac_row(v, first, w, count, x, width);
        } else {
            sne_add_row(v, first, w, count, width);
        }
    }
    return (uint32_t)row->count * column->count;
}

SNE_INLINE uint32_t sne_conv_add(const sne_conv *p, void *v, const uint16_t *events, size_t n, int width)
{
    const size_t out_row = (size_t)p->window.out_width * p->out_channels;
    const size_t tap_row = (size_t)p->kernel_width * p->out_channels;
    uint32_t positions = 0;
    size_t e;
    for (e = 0; e < n; e++) {
        positions += sne_conv_reach(p, out_row, tap_row, v, events[e], 1, 0, width);
    }
    return positions * p->out_channels;
}

SNE_INLINE uint32_t sne_conv_mac(const sne_conv *p, void *v, const int8_t *x, int width)
{
    const size_t out_row = (size_t)p->window.out_width * p->out_channels;
    const size_t tap_row = (size_t)p->kernel_width * p->out_channels;
    uint32_t i, positions = 0;
    for (i = 0; i < p->window.inputs; i++) {
        if (x[i] != 0) {
            positions += sne_conv_reach(p, out_row, tap_row, v, i, x[i], 1, width);
        }
    }
    return positions * p->out_channels;
}

/* Average pooling: every spike passes on to each window it lies in. */
SNE_INLINE size_t sne_avgpool(const sne_window *p, const uint16_t *events, size_t n, uint16_t *out)
{
    size_t e, y, x, m = 0;
    for (e = 0; e < n; e++) {
        const sne_span *row, *column;
        const uint32_t channel = sne_locate(p, events[e], &row, &column);
        for (y = row->out; y < (size_t)row->out + row->count; y++) {
            for (x = column->out; x < (size_t)column->out + column->count; x++) {
                out[m++] = (uint16_t)((y * p->out_width + x) * p->channels.divisor + channel);
            }
        }
    }
    return m;
}

/* Max pooling: one spike for each window that holds any. `seen`: a bit per output, cleared here. */
SNE_INLINE size_t sne_maxpool(const sne_window *p, const uint16_t *events, size_t n, uint16_t *out, uint8_t *seen,
                              size_t seen_bytes)
{
    size_t e, y, x, m = 0;
    for (e = 0; e < seen_bytes; e++) {
        seen[e] = 0;
    }
    for (e = 0; e < n; e++) {
        const sne_span *row, *column;
        const uint32_t channel = sne_locate(p, events[e], &row, &column);
        for (y = row->out; y < (size_t)row->out + row->count; y++) {
            for (x = column->out; x < (size_t)column->out + column->count; x++) {
                const size_t i = (y * p->out_width + x) * p->channels.divisor + channel;
                const uint8_t bit = (uint8_t)(1u << (i & 7u));
                if (!(seen[i >> 3] & bit)) {
                    seen[i >> 3] = (uint8_t)(seen[i >> 3] | bit);
                    out[m++] = (uint16_t)i;
                }
            }
        }
    }
    return m;
}

/* The uniform draws, one a byte, of four inputs: Wellons' lowbias32 of a counter. */
SNE_INLINE uint32_t sne_rate_word(uint32_t counter)
{
    uint32_t x = counter;
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return x & 0x7f7f7f7fu;
}

/* Rate encoder: input i spikes at timestep t where its draw is below x[i]. */
SNE_INLINE size_t sne_rate_events(const int8_t *x, size_t inputs, uint32_t seed, uint32_t t, uint16_t *events)
{
    uint32_t counter = seed + t * (uint32_t)((inputs + 3) / 4), draws = 0;
    size_t i, n = 0;
    for (i = 0; i < inputs; i++, draws >>= 8) {
        if ((i & 3u) == 0) {
            draws = sne_rate_word(counter++);
        }
        if ((int32_t)(draws & 0x7fu) < x[i]) {
            events[n++] = (uint16_t)i;
        }
    }
    return n;
}

/* Place of the lowest bit of x != 0. */
SNE_INLINE uint32_t sne_lowest_bit(uint32_t x)
{
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctz(x);
#else
    uint32_t place = 0;
    while (!(x >> place & 1u)) {
        place++;
    }
    return place;
#endif
}

/* One timestep of a raster: a bit per input, least significant first; bits beyond the inputs are ignored. */
SNE_INLINE size_t sne_raster_events(const uint8_t *row, size_t inputs, uint16_t *events)
{
    size_t base, n = 0;
    for (base = 0; base < inputs; base += 8) {
        uint32_t bits = row[base >> 3];
        if (inputs - base < 8) {
            bits &= (1u << (inputs - base)) - 1u;
        }
        for (; bits; bits &= bits - 1u) {
            events[n++] = (uint16_t)(base + sne_lowest_bit(bits));
        }
    }
    return n;
}

/* A student's part of the logits. */
SNE_INLINE void sne_head(int32_t *logits, const void *readout, const int32_t *gain, const int32_t *bias, size_t n,
                         int width)
{
    size_t c;
    for (c = 0; c < n; c++) {
        logits[c] += bias[c] + gain[c] * sne_get(readout, c, width);
    }
}

#endif
