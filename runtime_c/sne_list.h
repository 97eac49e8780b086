/* Listing spikes: of what one output position sees, of a row of positions' columns, and bit by bit. */
#ifndef SNE_LIST_H
#define SNE_LIST_H

#include "sne_nibbles.h"
#include "sne_tables.h"

#if defined(SNE_THUMB2) || defined(SNE_DSP) || defined(SNE_HELIUM)
#include "sne_list_thumb2.h"
#define SNE_LIST_ALL(view, bits, pitch, rows) sne_list_thumb2(view, bits, pitch, rows)
#elif defined(SNE_THUMB1)
#include "sne_list_thumb1.h"
#define SNE_LIST_ALL(view, bits, pitch, rows) sne_list_thumb1(view, bits, pitch, rows)
#endif

/* What one output position sees: runs of `count` inputs, each so much further on than the last. */
typedef struct {
    uint32_t runs, left, from, row; /* still to be seen: runs, inputs of the first, its place and row */
    uint32_t count, from_step, row_step;
    uint32_t line, taps; /* of a whole row of positions: the first run's input row, and its row of weights */
    uint32_t fits;       /* a list has room for all that any of these positions sees */
} sne_view;

/* The taps low .. high - 1 that lie within an axis where the first one lies at `first`. */
/*@ requires 1 <= kernel <= 65535 && 1 <= length <= 65535 && -65535 <= first < length && first + kernel > 0;
    requires \valid(low) && \valid(high) && \separated(low, high);
    assigns *low, *high;
    ensures 0 <= *low < *high <= kernel && 0 <= first + *low && first + *high <= length; */
SNE_INLINE void sne_clip(int32_t first, uint32_t kernel, uint32_t length, uint32_t *low, uint32_t *high)
{
    const uint32_t room = (uint32_t)((int32_t)length - first);
    *low = first < 0 ? (uint32_t)-first : 0u;
    *high = room < kernel ? room : kernel;
}

/* What positions of output row `y` see, but for their columns. Offsets of rows are in bytes, `pitch` from one to the next. */
SNE_INLINE void sne_look_along(const sne_synapses *p, size_t pitch, uint32_t y, sne_view *view)
{
    const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
    uint32_t low, high;
    sne_clip(top, p->kernel_height, p->in_height, &low, &high);
    view->runs = high - low;
    view->from_step = (uint32_t)p->in_width * p->in_channels;
    view->row_step = (uint32_t)p->kernel_width * p->in_channels * (uint32_t)pitch;
    view->line = (uint32_t)(top + (int32_t)low) * view->from_step;
    view->taps = low * view->row_step;
    view->fits = view->runs * p->kernel_width * p->in_channels <= p->capacity;
}

/* And what position `x` of that row sees. */
SNE_INLINE void sne_look_at(const sne_synapses *p, size_t pitch, uint32_t x, sne_view *view)
{
    const uint32_t channels = p->in_channels;
    const int32_t left = (int32_t)(x * p->stride_width) - (int32_t)p->padding_width;
    uint32_t first, last;
    sne_clip(left, p->kernel_width, p->in_width, &first, &last);
    view->count = (last - first) * channels;
    view->left = view->count;
    view->from = view->line + (uint32_t)(left + (int32_t)first) * channels;
    view->row = view->taps + first * channels * (uint32_t)pitch;
}

/* What one position sees. */
SNE_INLINE void sne_look(const sne_synapses *p, size_t pitch, uint32_t y, uint32_t x, sne_view *view)
{
    sne_look_along(p, pitch, y, view);
    sne_look_at(p, pitch, x, view);
}

#if defined(SNE_HOST_LISTS)
#include "sne_list_host.h"
#else
SNE_INLINE uint32_t *sne_list_word(uint32_t spikes, uint32_t row, uint32_t step, uint32_t *rows)
{
#if defined(SNE_THUMB2) || defined(SNE_DSP) || defined(SNE_HELIUM)
    uint32_t place, offset;
    if (spikes) {
        __asm__ volatile("rbit %[spikes], %[spikes]\n" /* once: the highest bit is found in one instruction */
                         "1:\n"
                         "clz %[place], %[spikes]\n"
                         "mla %[offset], %[step], %[place], %[row]\n"
                         "str %[offset], [%[rows]], #4\n"
                         "lsr %[place], %[top], %[place]\n"
                         "bics %[spikes], %[spikes], %[place]\n"
                         "bne 1b\n"
                         : [spikes] "+r"(spikes), [rows] "+r"(rows), [place] "=&r"(place), [offset] "=&r"(offset)
                         : [step] "r"(step), [row] "r"(row), [top] "r"(0x80000000u)
                         : "cc", "memory");
    }
#else
    for (; spikes; spikes &= spikes - 1u) {
        *rows++ = row + sne_lowest_bit(spikes) * step;
    }
#endif
    return rows;
}
#endif

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

#endif
