/* Layers, encoders and the head.
 *
 * A layer runs through all timesteps, tile by tile: only one tile's membranes exist. Spikes are bits, in channel-last
 * order, each timestep's from a whole word on. Like the neurons' functions, these are inlined into generated callers
 * with their choices as constants. These kernels bring spikes to membranes:
 *
 *   gather   a tile is one output position. The spikes that it sees lie in a few runs of bits, and consecutive bits have
 *            consecutive rows of weights; the rows of those that spiked are listed and added at once. A linear layer
 *            is one position that sees one run. The same way `mac` lists and multiplies a direct input's values, in twos.
 *   sweep    a tile is one row of output positions. The spikes that they see are listed once for all of them, column by
 *            column of the input: a position's are then neighbours in the list, and their rows are as far from each
 *            other as another position's. For convolutions whose windows overlap.
 *   scatter  a tile is one row of output positions. Each spike of the input rows that it sees is brought to the
 *            positions that it reaches: better where hardly any spike, and after average pooling, which needs no pass of its
 *            own: the tables see through it.
 *   overlap  as scatter, after average pooling whose windows overlap: a spike reaches a position through more than one tap.
 *   collect  a linear layer after average pooling: listed and added as by gather, found as by scatter.
 *   depthwise  as scatter, but a spike reaches its own channel only: one weight a position. */
#ifndef SNE_KERNELS_H
#define SNE_KERNELS_H

#include "sne.h"
#include "sne_accumulate.h"
#include "sne_fire.h"
#include "sne_nibbles.h"
#include "sne_multiply.h"

enum { SNE_GATHER, SNE_SWEEP, SNE_SCATTER, SNE_OVERLAP, SNE_COLLECT, SNE_DEPTHWISE, SNE_MAC };

/* Division by a constant for i < 65536: (i * multiplier) >> shift, or a real one where the multiplier is 0. */
typedef struct {
    uint32_t multiplier;
    uint16_t shift;
    uint16_t divisor;
} sne_divider;

/* Along one axis: pairs[start[i]] .. pairs[start[i + 1] - 1] say which positions of the other side position i meets,
 * and through which tap. */
typedef struct {
    uint16_t position;
    uint16_t tap;
} sne_pair;

#if defined(SNE_WIDE) /* by a model with an axis of more than 65535 pairs, before it includes this */
typedef uint32_t sne_start;
#else
typedef uint16_t sne_start;
#endif

typedef struct {
    const sne_start *start;
    const sne_pair *pairs;
} sne_axis;

typedef struct {
    /* [kernel height][kernel width][in channels (depthwise: 1)] rows; of 4 bits: sne_nibbles.h; multiplied: two inputs' together */
    const sne_weight *weight;
    sne_axis rows;            /* scatter, collect: the input rows of an output row */
    sne_axis columns;         /* scatter, collect: the output columns of an input column */
    sne_divider divide;       /* by the input's channels */
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t padding_height, padding_width;
    uint16_t capacity;        /* of a job's list of rows */
} sne_synapses;

/* Max pooling: the output rows and columns that an input row or column reaches. */
typedef struct {
    sne_axis rows;
    sne_axis columns;
    sne_divider divide; /* by the channels */
    uint16_t in_height, in_width;
    uint16_t out_height, out_width;
} sne_pooling;

/* What a layer works on. `spread`: all membranes have their place, tile after tile, else each tile takes the first one's.
 * `fresh`: they start from rest. */
typedef struct {
    const uint32_t *in; /* [timesteps][words] */
    const int8_t *x;    /* a direct input, instead */
    uint32_t *out;      /* [timesteps][words] */
    void *membranes;
    void *current;      /* of one tile: a direct input's constant current */
    uint32_t *rows;     /* [capacity]; scatter: what each of the input's columns reaches, and a turned drive */
    uint32_t timesteps;
    uint8_t spread;
    uint8_t fresh;
} sne_job;

SNE_INLINE uint32_t sne_divide(uint32_t i, const sne_divider *d)
{
    return d->multiplier ? (i * d->multiplier) >> d->shift : i / d->divisor;
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

SNE_INLINE size_t sne_words(size_t bits)
{
    return (bits + 31u) >> 5;
}

SNE_INLINE void sne_clear(uint32_t *words, size_t n)
{
    uint32_t *const end = words + n;
    while (words != end) {
        *words++ = 0;
    }
}

/* What one output position sees: runs of `count` inputs, each so much further on than the last. */
typedef struct {
    uint32_t runs, left, from, row; /* still to be seen: runs, inputs of the first, its place and row */
    uint32_t count, from_step, row_step;
} sne_view;

/* The taps low .. high - 1 that lie within an axis where the first one lies at `first`. */
SNE_INLINE void sne_clip(int32_t first, uint32_t kernel, uint32_t length, uint32_t *low, uint32_t *high)
{
    const uint32_t room = (uint32_t)((int32_t)length - first);
    *low = first < 0 ? (uint32_t)-first : 0u;
    *high = room < kernel ? room : kernel;
}

/* Offsets of rows are in bytes, `pitch` from one to the next. */
SNE_INLINE void sne_look(const sne_synapses *p, size_t pitch, uint32_t y, uint32_t x, sne_view *view)
{
    const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
    const int32_t left = (int32_t)(x * p->stride_width) - (int32_t)p->padding_width;
    uint32_t low, high, first, last;
    sne_clip(top, p->kernel_height, p->in_height, &low, &high);
    sne_clip(left, p->kernel_width, p->in_width, &first, &last);
    view->runs = high - low;
    view->count = (last - first) * p->in_channels;
    view->left = view->count;
    view->from_step = (uint32_t)p->in_width * p->in_channels;
    view->row_step = (uint32_t)p->kernel_width * p->in_channels * (uint32_t)pitch;
    view->from = (uint32_t)(top + (int32_t)low) * view->from_step + (uint32_t)(left + (int32_t)first) * p->in_channels;
    view->row = low * view->row_step + first * p->in_channels * (uint32_t)pitch;
}

SNE_INLINE uint32_t *sne_list_word(uint32_t spikes, uint32_t row, uint32_t step, uint32_t *rows)
{
    for (; spikes; spikes &= spikes - 1u) {
        *rows++ = row + sne_lowest_bit(spikes) * step;
    }
    return rows;
}

/* List the rows of the spikes in view, from `rows` to beyond `full` at most. Returns the list's end, and leaves in `view`
 * what is still to be seen: no run where nothing is. */
SNE_OUTLINE uint32_t *sne_list(sne_view *view, const uint32_t *bits, size_t pitch, uint32_t *rows, const uint32_t *full)
{
    const uint32_t step = (uint32_t)pitch;
    uint32_t runs = view->runs, left = view->left, from = view->from, row = view->row;
    if (left > 128u && (from & 31u) == 0) { /* a long run: whole words */
        const uint32_t *word = bits + (from >> 5);
        for (; left > 32u && rows <= full; left -= 32u, from += 32u, row += 32u * step) {
            rows = sne_list_word(*word++, row, step, rows);
        }
    }
    while (runs && rows <= full) {
        const uint32_t at = from & 31u;
        uint32_t take = 32u - at, spikes = bits[from >> 5] >> at;
        if (left < take) {
            spikes &= ((uint32_t)1 << left) - 1u;
            take = left;
        }
        rows = sne_list_word(spikes, row, step, rows);
        from += take;
        row += take * step;
        left -= take;
        if (left == 0) {
            runs--;
            from += view->from_step - view->count;
            row += view->row_step - view->count * step;
            left = view->count;
        }
    }
    view->runs = runs;
    view->left = left;
    view->from = from;
    view->row = row;
    return rows;
}

/* Add the rows of the spikes in view to `v`, listing up to `capacity` at a time. Returns their number. */
SNE_INLINE uint32_t sne_gather(const sne_synapses *p, const sne_view *look, const uint32_t *bits, void *v, size_t stride,
                               uint32_t *rows, size_t capacity, int width, int weight_bits, int turned)
{
    const size_t pitch = sne_pitch(stride, weight_bits);
    sne_view view = *look;
    uint32_t total = 0;
    do {
        const uint32_t *const end = sne_list(&view, bits, pitch, rows, rows + capacity - 32);
        if (end != rows) {
            sne_bring_rows(v, p->weight, rows, end, stride, width, weight_bits, turned);
            total += (uint32_t)(end - rows);
        }
    } while (view.runs);
    return total;
}

/* The input rows that a row of output positions sees: `runs` of them, the first one's first bit and its offset of weights,
 * and the steps from one to the next. */
typedef struct {
    uint32_t runs, from, from_step, row, row_step;
    uint32_t width, channels, pitch;
    int words; /* input rows are whole words, and a column's inputs in one row never lie in two */
} sne_band;

/* List the spikes of the input's columns from `x` on in `rows`, up to beyond `full` at most, with offsets as if column `x`
 * were the first tap's. starts[i] is where the i-th column's begin, as a number of rows listed before. Returns the end of
 * `starts`, the one after the last complete column's included. */
SNE_OUTLINE uint32_t *sne_list_columns(const sne_band *b, const uint32_t *bits, uint32_t x, uint32_t *starts,
                                       uint32_t *rows, const uint32_t *full)
{
    const uint32_t channels = b->channels, pitch = b->pitch, row_step = b->row_step;
    uint32_t column = b->from + x * channels, left = b->width - x;
    const uint32_t *const list = rows;
    uint32_t row = b->row;
    *starts++ = 0;
    if (b->words) {
        const uint32_t mask = ~(uint32_t)0 >> (32u - channels), step = b->from_step >> 5;
        const uint32_t last = (b->runs - 1u) * step;
        for (; left && rows <= full; left--, column += channels, row += channels * pitch) {
            const uint32_t *word = bits + (column >> 5) + last;
            const uint32_t at = column & 31u;
            uint32_t k = b->runs;
            do {
                const uint32_t spikes = (*word >> at) & mask;
                k--;
                word -= step;
                if (spikes) {
                    rows = sne_list_word(spikes, row + k * row_step, pitch, rows);
                }
            } while (k);
            *starts++ = (uint32_t)(rows - list);
        }
        return starts;
    }
    for (; left; left--, column += channels, row += channels * pitch) {
        uint32_t from = column, offset = row, k = b->runs;
        do {
            uint32_t done = 0;
            do {
                const uint32_t at = (from + done) & 31u, more = channels - done;
                uint32_t spikes = bits[(from + done) >> 5] >> at, take = 32u - at;
                if (more < take) {
                    spikes &= ((uint32_t)1 << more) - 1u;
                    take = more;
                }
                if (rows > full) {
                    return starts;
                }
                rows = sne_list_word(spikes, offset + done * pitch, pitch, rows);
                done += take;
            } while (done < channels);
            from += b->from_step;
            offset += row_step;
        } while (--k);
        *starts++ = (uint32_t)(rows - list);
    }
    return starts;
}

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
        for (at = rows; at < last; at += step, weight -= step * column) {
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
            total += sne_gather(p, &view, bits, v, stride, list, (size_t)(stop - list), width, weight_bits, 0);
            v = sne_at(v, stride, width);
            at += step;
        }
        first += (uint32_t)(at - rows);
    } while (first + kernel <= span);
    return total;
}

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

/* Some of a map's bits, word by word. */
typedef struct {
    const uint32_t *word, *end;
    uint32_t first, last; /* masks of the first word, until it was read, and of the last one */
    uint32_t index;       /* of a word's lowest bit, among these; below 0 in the first one */
} sne_bits;

/* The `length` bits from bit `from` on, one at least. */
SNE_INLINE sne_bits sne_some_bits(const uint32_t *bits, uint32_t from, uint32_t length)
{
    sne_bits some;
    some.word = bits + (from >> 5);
    some.end = bits + ((from + length + 31u) >> 5);
    some.first = ~(uint32_t)0 << (from & 31u);
    some.last = ~(uint32_t)0 >> (-(from + length) & 31u);
    some.index = 0u - (from & 31u) - 32u;
    return some;
}

/* The next word, or what it has of them. */
SNE_INLINE uint32_t sne_next_word(sne_bits *some)
{
    uint32_t spikes = *some->word++ & some->first;
    some->first = ~(uint32_t)0;
    some->index += 32u;
    if (some->word == some->end) {
        spikes &= some->last;
    }
    return spikes;
}

/* What the spikes of an input column reach: the first of `n` positions, and its tap's weights as if the column's first
 * input were the row's. In bytes. */
typedef struct {
    uint32_t membranes, weights, n;
} sne_reach;

/* A scattering layer's constants. */
typedef struct {
    const sne_reach *reach; /* by input column */
    sne_chain chain;
    uint32_t tap, pitch;    /* bytes of a tap's weights, and of a row */
} sne_route;

/* Work them out, in `reach` what each of the input's columns does. */
SNE_INLINE void sne_plan(const sne_synapses *p, size_t stride, int width, int weight_bits, int kernel, sne_reach *reach,
                         sne_route *route)
{
    const uint32_t pitch = (uint32_t)sne_pitch(stride, weight_bits);
    const uint32_t tap = kernel == SNE_DEPTHWISE ? pitch : p->in_channels * pitch;
    uint32_t x;
    route->reach = reach;
    route->tap = tap;
    route->pitch = pitch;
    route->chain.stride = stride;
    route->chain.next = p->stride_width * tap + pitch;
    for (x = 0; kernel == SNE_SCATTER && x < p->in_width; x++, reach++) {
        const uint32_t first = p->columns.start[x];
        const sne_pair *const pair = p->columns.pairs + first;
        reach->n = p->columns.start[x + 1u] - first;
        if (reach->n) {
            reach->membranes = pair->position * (uint32_t)stride * (uint32_t)width / 8u;
            reach->weights = (pair->tap - x) * tap;
        }
    }
}

/* Bring input `i` of a row of inputs, whose weights start at `base`, to the positions that it reaches: neighbours, each
 * through the tap a stride before the last one's. Returns their number. */
SNE_INLINE uint32_t sne_scatter_one(const sne_synapses *p, uint32_t i, const sne_route *route, const sne_weight *base,
                                    void *v, int width, int weight_bits, int turned)
{
    const sne_reach *const reach = route->reach + sne_divide(i, &p->divide);
    const uint32_t n = reach->n;
    if (n) {
        sne_bring_chain((uint8_t *)v + reach->membranes, base + (i * route->pitch + reach->weights), n, &route->chain,
                        width, weight_bits, turned);
    }
    return n;
}

/* The same where average pooling's windows overlap. */
SNE_INLINE uint32_t sne_scatter_overlap(const sne_synapses *p, uint32_t i, const sne_route *route, const sne_weight *base,
                                        void *v, int width, int weight_bits)
{
    const uint32_t x = sne_divide(i, &p->divide);
    const sne_weight *const w = base + (i - x * p->in_channels) * route->pitch;
    const sne_pair *pair = p->columns.pairs + p->columns.start[x];
    const sne_pair *const stop = p->columns.pairs + p->columns.start[x + 1u];
    const uint32_t reached = (uint32_t)(stop - pair);
    for (; pair != stop; pair++) {
        sne_bring_chain(sne_at(v, pair->position * route->chain.stride, width), w + pair->tap * route->tap, 1,
                        &route->chain, width, weight_bits, 0);
    }
    return reached;
}

/* The same for the channel of input `i` alone. */
SNE_INLINE uint32_t sne_scatter_channel(const sne_synapses *p, uint32_t i, const sne_weight *base, void *v, size_t stride,
                                        int width)
{
    const uint32_t x = sne_divide(i, &p->divide), c = i - x * p->in_channels;
    const sne_pair *pair = p->columns.pairs + p->columns.start[x];
    const sne_pair *const stop = p->columns.pairs + p->columns.start[x + 1u];
    const uint32_t reached = (uint32_t)(stop - pair);
    for (; pair != stop; pair++) {
        const size_t at = pair->position * stride + c;
        sne_put(v, at, sne_get(v, at, width) + sne_weight_at(base + pair->tap * stride, c), width);
    }
    return reached;
}

/* Bring the spikes of the input rows that output row `y` sees to its positions. Returns the number of rows, or
 * (depthwise) of weights added. */
SNE_INLINE uint32_t sne_scatter(const sne_synapses *p, const sne_route *route, uint32_t y, const uint32_t *bits, void *v,
                                int width, int weight_bits, int kernel, int turned)
{
    const uint32_t length = (uint32_t)p->in_width * p->in_channels;
    const sne_pair *row = p->rows.pairs + p->rows.start[y], *const last = p->rows.pairs + p->rows.start[y + 1u];
    uint32_t total = 0;
    for (; row != last; row++) {
        const sne_weight *const base = p->weight + row->tap * p->kernel_width * route->tap;
        sne_bits in = sne_some_bits(bits, row->position * length, length);
        do {
            uint32_t spikes = sne_next_word(&in);
            for (; spikes; spikes &= spikes - 1u) {
                const uint32_t i = in.index + sne_lowest_bit(spikes);
                if (kernel == SNE_SCATTER) {
                    total += sne_scatter_one(p, i, route, base, v, width, weight_bits, turned);
                } else if (kernel == SNE_OVERLAP) {
                    total += sne_scatter_overlap(p, i, route, base, v, width, weight_bits);
                } else {
                    total += sne_scatter_channel(p, i, base, v, route->chain.stride, width);
                }
            }
        } while (in.word != in.end);
    }
    return total;
}

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
        const uint32_t base = row->tap * p->kernel_width * tap;
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

/* sne_fire with its choices made. */
typedef size_t (*sne_fire_function)(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                                    size_t first);

/* Do this layer's membranes have turned signs (sne_fire.h) while it works on them? All arguments are constants. */
SNE_INLINE int sne_turned(int kernel, int weight_bits, int width, int decay, int32_t factor, int reset, int clamp)
{
    const int can = SNE_TURNED_DRIVE ? kernel == SNE_SCATTER : kernel == SNE_GATHER || kernel == SNE_MAC;
    return can && weight_bits == 8 && sne_fire_turns(width, decay, factor, reset, clamp);
}

/* A layer through all timesteps. All but p, q, job and cost are constants of the caller's; a readout has no `fire`, and
 * `weight_bits` is 8 or, but for a direct input, 4.
 * Returns the spikes made, and adds the work done to `cost`. */
SNE_INLINE uint32_t sne_layer(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost, int kernel,
                              int weight_bits, sne_fire_function fire, int width, int decay, int32_t factor, int reset,
                              int clamp)
{
    const int readout = fire == NULL;
    const int turned = !readout && sne_turned(kernel, weight_bits, width, decay, factor, reset, clamp);
    const size_t stride = q->stride, channels = q->channels;
    const int scatter = kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    const int whole_row = scatter || kernel == SNE_SWEEP;
    const uint32_t positions = whole_row ? p->out_width : 1u, across = whole_row ? 1u : p->out_width;
    const size_t in_words = sne_words((size_t)p->in_height * p->in_width * p->in_channels);
    const size_t out_words = readout ? 0u : sne_words((size_t)p->out_height * p->out_width * channels);
    void *v = job->membranes;
    uint32_t y, x, i, t, rows = 0, fired = 0;
    size_t first = 0;
    sne_route route;
    if (scatter) {
        sne_plan(p, stride, width, weight_bits, kernel, (sne_reach *)(void *)job->rows, &route);
    }
    if (turned && SNE_TURNED_DRIVE) {
        sne_turned_drive(job->rows + p->capacity - stride / 2u, q->bias, stride, decay, factor);
    }
    sne_clear(job->out, job->timesteps * out_words);
    for (y = 0; y < p->out_height; y++) {
        for (x = 0; x < across; x++) {
            const uint32_t *in = job->in;
            uint32_t *out = job->out;
            const void *drive = q->bias;
            sne_view view;
            if (kernel == SNE_GATHER) {
                sne_look(p, sne_pitch(stride, weight_bits), y, x, &view);
            }
            if (kernel == SNE_MAC) {
                sne_look(p, 1, y, x, &view);
                sne_charge_fresh(job->current, q->bias, stride, width, 0);
                rows += sne_gather_mac(p, &view, job->x, job->current, stride, job->rows, width);
                drive = job->current;
            }
            for (i = 0; job->fresh && i < positions; i++) {
                if (readout) {
                    sne_rest(v, stride, width);
                } else {
                    sne_charge_fresh(sne_at(v, i * stride, width), drive, stride, width, turned);
                }
            }
            if (turned && !job->fresh) {
                sne_turn(v, positions * stride);
            }
            if (turned && SNE_TURNED_DRIVE) {
                drive = job->rows + p->capacity - stride / 2u;
            }
            for (t = 0; t < job->timesteps; t++) {
                if (readout) {
                    sne_leak(q, v, drive, width, decay, factor);
                }
                if (kernel == SNE_GATHER) {
                    rows += sne_gather(p, &view, in, v, stride, job->rows, p->capacity, width, weight_bits,
                                       turned);
                } else if (kernel == SNE_SWEEP) {
                    rows += sne_sweep(p, y, in, v, stride, job->rows, width, weight_bits);
                } else if (scatter) {
                    rows += sne_scatter(p, &route, y, in, v, width, weight_bits, kernel, turned);
                } else if (kernel == SNE_COLLECT) {
                    rows += sne_collect(p, in, v, stride, job->rows, width, weight_bits);
                }
                if (!readout) {
                    fired += (uint32_t)fire(q, v, drive, positions, out, first);
                } else if (clamp) {
                    sne_clamp(q, v, width);
                }
                in += in_words;
                out += out_words;
            }
            first += positions * channels;
            if (job->spread) {
                if (turned) {
                    sne_turn(v, positions * stride);
                }
                v = sne_at(v, positions * stride, width);
            }
        }
    }
    if (kernel == SNE_MAC) {
        cost->macs += rows * (uint32_t)channels;
    } else {
        cost->synaptic_ops += kernel == SNE_DEPTHWISE ? rows : rows * (uint32_t)channels;
    }
    return fired;
}

/* Max pooling: a spike for each window that holds any. */
SNE_INLINE void sne_maxpool(const sne_pooling *p, const sne_job *job)
{
    const uint32_t channels = p->divide.divisor;
    const size_t inputs = (size_t)p->in_height * p->in_width * channels, in_words = sne_words(inputs);
    const size_t out_words = sne_words((size_t)p->out_height * p->out_width * channels);
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
                        sne_set_bit(out, ((uint32_t)row->position * p->out_width + column->position) * channels + c);
                    }
                }
            }
        }
    }
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

/* Rate encoder: input i spikes at timestep t where its draw is below x[i]. `bits`: [timesteps][words]. */
SNE_INLINE void sne_rate_encode(const int8_t *x, size_t inputs, uint32_t seed, uint32_t timesteps, uint32_t *bits)
{
    uint32_t counter = seed, t, draws = 0;
    size_t i;
    for (t = 0; t < timesteps; t++, bits += sne_words(inputs)) {
        sne_clear(bits, sne_words(inputs));
        for (i = 0; i < inputs; i++, draws >>= 8) {
            if ((i & 3u) == 0) {
                draws = sne_rate_word(counter++);
            }
            if ((int32_t)(draws & 0x7fu) < x[i]) {
                sne_set_bit(bits, i);
            }
        }
    }
}

/* Events as one timestep's bits. */
SNE_INLINE void sne_event_bits(const uint16_t *events, size_t n, size_t inputs, uint32_t *bits)
{
    size_t i;
    sne_clear(bits, sne_words(inputs));
    for (i = 0; i < n; i++) {
        sne_set_bit(bits, events[i]);
    }
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
