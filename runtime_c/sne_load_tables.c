/* What a blob's stage says of itself, held against what its kernel relies on: tables within the blob, indices within maps and
 * weights, no sum of 32 bits that could run over. Sums of 16 bits may, into wrong results alone. */
#include "sne_load_parts.h"
#include "sne_nibbles.h"

enum { LEAST_LIST = 32 };
static const uint64_t MOST_PAIRS = 1u << 20;

static int is_wide(const sne_checked *c)
{
    return (c->kernels->order & SNE_ORDER_WIDE) != 0;
}

/* start[i] of an axis. */
static uint32_t start_of(const sne_checked *c, uint32_t start_at, uint32_t i)
{
    return is_wide(c) ? (uint32_t)sne_words_at(c, start_at)[i] : sne_halves_at(c, start_at)[i];
}

/* Is an axis of n positions sound: pairs in order, each of a position below `positions` and a tap below `taps`? */
static int axis_fits(const sne_checked *c, uint32_t start_at, uint32_t pairs_at, uint32_t n, uint32_t positions, uint32_t taps)
{
    const sne_pair *pairs;
    uint32_t i;
    if (!sne_lies(c, start_at, (is_wide(c) ? 4u : 2u) * ((uint64_t)n + 1u))) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (start_of(c, start_at, i) > start_of(c, start_at, i + 1u)) {
            return 0;
        }
    }
    if (start_of(c, start_at, 0) != 0 || !sne_lies(c, pairs_at, 4u * (uint64_t)start_of(c, start_at, n))) {
        return 0;
    }
    pairs = (const sne_pair *)(const void *)(c->blob + pairs_at);
    for (i = 0; i < start_of(c, start_at, n); i++) {
        if (pairs[i].position >= positions || pairs[i].tap >= taps) {
            return 0;
        }
    }
    return 1;
}

/* Are the positions that an input column reaches neighbours, each through the tap a stride before the last one's? */
static int chains_fit(const sne_checked *c, const sne_blob_synapses *s)
{
    const sne_pair *pairs = (const sne_pair *)(const void *)(c->blob + s->column_pairs);
    uint32_t x, i;
    for (x = 0; x < s->in_width; x++) {
        for (i = start_of(c, s->column_start, x); i + 1u < start_of(c, s->column_start, x + 1u); i++) {
            if (pairs[i + 1u].position != pairs[i].position + 1u || pairs[i + 1u].tap + (uint32_t)s->stride_width != pairs[i].tap) {
                return 0;
            }
        }
    }
    return 1;
}

/* Does the divider divide every i < n by `divisor`? Rounded up, its product is too large first at the last i before a multiple. */
static int divides(const sne_blob_synapses *s, uint32_t divisor, uint64_t n)
{
    const uint64_t m = s->multiplier, one = (uint64_t)1 << (s->shift & 31u);
    if (s->divisor != divisor || divisor == 0 || s->shift > 31u) {
        return 0;
    }
    if (m == 0 || n == 0) {
        return 1;
    }
    return m * divisor >= one && (n - 1u) * m <= 0xffffffffu && (m * divisor - one) * (n - 1u) < one;
}

int sne_windows_fit(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t padding)
{
    return in && out && kernel && stride && padding < kernel && (uint64_t)(out - 1u) * stride < (uint64_t)in + padding;
}

/* Bytes that weights take, as this build's cores want them. */
static uint64_t weight_bytes(const sne_checked *c, const sne_blob_synapses *s, uint32_t kind, uint64_t stride)
{
    const uint32_t kernel = SNE_KIND_KERNEL(kind), order = c->kernels->order & ~(uint32_t)SNE_ORDER_WIDE;
    const uint64_t run = (uint64_t)s->kernel_width * s->in_channels;
    const uint64_t rows = s->kernel_height * (kernel == SNE_DEPTHWISE ? s->kernel_width : run);
    if (kernel != SNE_MAC && kernel != SNE_CONVOLVE) {
        return rows * sne_pitch((uint32_t)stride, SNE_KIND_NIBBLES(kind) ? 4 : 8);
    }
    if (order == SNE_ORDER_BY_OUTPUT && !SNE_KIND_PAIRS(kind)) {
        return stride * ((rows + 15u) / 16u * 16u);
    }
    if (kernel == SNE_CONVOLVE && order == SNE_ORDER_DSP) {
        return stride * s->kernel_height * ((run + 1u) / 2u * 2u);
    }
    return stride * ((rows + 1u) / 2u * 2u);
}

/* The geometry that a kernel relies on, its tables, and the room in its list. */
static int kernel_fits(const sne_checked *c, const sne_blob_synapses *s, uint32_t kernel, uint32_t channels, uint32_t stride)
{
    const uint64_t row = (uint64_t)s->in_width * s->in_channels;
    const int windows = sne_windows_fit(s->in_height, s->out_height, s->kernel_height, s->stride_height, s->padding_height) &&
                        sne_windows_fit(s->in_width, s->out_width, s->kernel_width, s->stride_width, s->padding_width);
    const uint64_t span = (uint64_t)(s->out_width - 1u) * s->stride_width + s->kernel_width;
    const uint64_t run = (uint64_t)s->kernel_width * s->in_channels;
    switch (kernel) {
    case SNE_GATHER:
    case SNE_MAC:
        return windows && s->capacity >= LEAST_LIST;
    case SNE_CONVOLVE:
        return windows && s->capacity >= LEAST_LIST && s->out_width > 1u && channels == stride &&
               2u * channels <= 0xffffu && (run + 1u) / 2u * 2u * s->kernel_height <= s->capacity;
    case SNE_SWEEP:
        return windows && s->capacity >= span + 1u + LEAST_LIST;
    case SNE_SCATTER:
    case SNE_OVERLAP:
    case SNE_DEPTHWISE:
        return axis_fits(c, s->row_start, s->row_pairs, s->out_height, s->in_height, s->kernel_height) &&
               axis_fits(c, s->column_start, s->column_pairs, s->in_width, s->out_width, s->kernel_width) &&
               divides(s, s->in_channels, row) && (kernel != SNE_DEPTHWISE || s->in_channels == channels) &&
               (kernel != SNE_SCATTER ||
                (s->capacity >= 3u * (uint64_t)s->in_width + stride / 2u && chains_fit(c, s)));
    case SNE_COLLECT:
        return s->out_height == 1u && s->out_width == 1u && s->capacity >= 1u &&
               axis_fits(c, s->row_start, s->row_pairs, 1, s->in_height, s->kernel_height) &&
               axis_fits(c, s->column_start, s->column_pairs, s->in_width, 0x10000u, s->kernel_width) &&
               divides(s, s->in_channels, row);
    case SNE_MAXPOOL:
        return axis_fits(c, s->row_start, s->row_pairs, s->in_height, s->out_height, 0x10000u) &&
               axis_fits(c, s->column_start, s->column_pairs, s->in_width, s->out_width, 0x10000u) &&
               divides(s, s->in_channels, row * s->in_height);
    default:
        return 0;
    }
}

/* Rows that one position may be given in a timestep, at most. */
static uint64_t most_rows(const sne_checked *c, const sne_blob_synapses *s, uint32_t kernel)
{
    uint32_t y, most = 0;
    if (kernel == SNE_GATHER || kernel == SNE_SWEEP || kernel == SNE_MAC || kernel == SNE_CONVOLVE) {
        return (uint64_t)s->kernel_height * s->kernel_width * s->in_channels;
    }
    for (y = 0; y < s->out_height; y++) { /* of tables: all that any of an output row's positions gets */
        const uint32_t n = start_of(c, s->row_start, y + 1u) - start_of(c, s->row_start, y);
        most = n > most ? n : most;
    }
    return (uint64_t)most * start_of(c, s->column_start, s->in_width) * s->in_channels;
}

int sne_synapses_fit(const sne_checked *c, const sne_blob_synapses *s, uint32_t kind, uint32_t channels, uint32_t stride)
{
    const uint32_t kernel = SNE_KIND_KERNEL(kind);
    const uint64_t inputs = (uint64_t)s->in_height * s->in_width * s->in_channels;
    const uint64_t outputs = (uint64_t)s->out_height * s->out_width * channels;
    if (inputs == 0 || inputs > SNE_MOST_INPUTS || outputs == 0 || outputs > SNE_MOST_INPUTS ||
        (kernel == SNE_DEPTHWISE && SNE_KIND_NIBBLES(kind)) || !kernel_fits(c, s, kernel, channels, stride)) {
        return 0;
    }
    return kernel == SNE_MAXPOOL || (weight_bytes(c, s, kind, stride) <= SNE_MOST_SUM &&
                                     sne_lies(c, s->weight, weight_bytes(c, s, kind, stride)));
}

uint64_t sne_most_added(const sne_checked *c, const sne_blob_synapses *s, uint32_t kind, int values)
{
    return most_rows(c, s, SNE_KIND_KERNEL(kind)) * (values ? 128u * 128u : 128u);
}

uint64_t sne_reach(uint64_t added, uint32_t decay, uint32_t factor, uint64_t steps, uint64_t most)
{
    uint64_t reached = UINT64_MAX, now = UINT64_MAX;
    if (added > SNE_MOST_SUM) {
        return UINT64_MAX;
    }
    if (steps) {
        reached = added * (steps + 1u);
    }
    if (decay == SNE_DECAY_SHIFT) { /* a decay may round away from 0, by less than 1 */
        now = (added + 1u) << (factor & 31u);
    } else if (decay == SNE_DECAY_Q15 && factor < 0x8000u) {
        now = (added + 1u) * 0x8000u / (0x8000u - factor) + 1u;
    }
    reached = now < reached ? now : reached;
    return most && most + added < reached ? most + added : reached;
}

static uint32_t size_of_weight(const sne_checked *c, const sne_blob_stage *s, uint64_t row, uint32_t output)
{
    const int bits = SNE_KIND_NIBBLES(s->kind) ? 4 : 8;
    const uint8_t *const at = c->blob + s->synapses.weight + row * sne_pitch(s->stride, bits);
    const int32_t w = bits == 4 ? sne_nibble(at + (output >> 3 << 2), output & 7u) : sne_weight_at((const sne_weight *)at, output);
    return (uint32_t)(w < 0 ? -w : w);
}

uint64_t sne_readout_sum(const sne_checked *c, const sne_blob_stage *stage, uint32_t output)
{
    const sne_blob_synapses *const s = &stage->synapses;
    const uint64_t rows = (uint64_t)s->kernel_height * s->kernel_width * s->in_channels;
    const sne_pair *pair = NULL, *column = NULL;
    uint64_t sum = 0, row;
    uint32_t y, x, k, down, across;
    if (SNE_KIND_KERNEL(stage->kind) == SNE_MAC) {
        return sne_most_added(c, s, stage->kind, 1);
    }
    if (SNE_KIND_KERNEL(stage->kind) == SNE_GATHER) {
        for (row = 0; row < rows; row++) {
            sum += size_of_weight(c, stage, row, output);
        }
        return sum;
    }
    down = start_of(c, s->row_start, 1);
    across = start_of(c, s->column_start, s->in_width);
    pair = (const sne_pair *)(const void *)(c->blob + s->row_pairs);
    column = (const sne_pair *)(const void *)(c->blob + s->column_pairs);
    if ((uint64_t)down * across * s->in_channels > MOST_PAIRS) {
        return (uint64_t)SNE_MOST_SUM + 1u;
    }
    for (y = 0; y < down; y++) {
        for (x = 0; x < across; x++) {
            row = ((uint64_t)pair[y].tap * s->kernel_width + column[x].tap) * s->in_channels;
            for (k = 0; k < s->in_channels; k++) {
                sum += size_of_weight(c, stage, row + k, output);
            }
        }
    }
    return sum;
}

/* Neurons: their tables, and that no sum of 32 bits runs over. `direct`: the layer multiplies values; `reached`: how far from 0 a
 * membrane gets, at most. */
static sne_status neurons_fit(const sne_checked *c, const sne_blob_stage *s, int direct, uint64_t steps, uint64_t *reached)
{
    const int wide = (int)SNE_KIND_WIDE(s->kind), shifted = (int)SNE_KIND_SHIFTED(s->kind), long_bias = wide || shifted;
    const uint64_t lanes = s->stride, two = SNE_KIND_KERNEL(s->kind) == SNE_CONVOLVE ? 2u : 1u;
    const uint64_t added = sne_most_added(c, &s->synapses, s->kind, direct);
    const uint64_t low = sne_size_of(s->clamp_low), clamp = low > (uint32_t)s->clamp_high ? low : (uint32_t)s->clamp_high;
    const uint32_t decay = SNE_KIND_DECAY(s->kind);
    uint64_t most = 1, sums;
    uint32_t i;
    if (s->channels == 0 || s->stride != ((s->channels + 3u) & ~3u) || s->decay > 0x7fffu ||
        !sne_lies(c, s->threshold, two * lanes * (wide ? 4u : 2u)) || !sne_lies(c, s->bias, lanes * (long_bias ? 4u : 2u)) ||
        shifted != (s->current_shift != 0) || s->current_shift > 31u || (shifted && !direct) || s->clamp_low > 0 ||
        s->clamp_high < 0) {
        return SNE_E_TABLES;
    }
    for (i = 0; i < lanes; i++) {
        const int64_t bias = long_bias ? sne_words_at(c, s->bias)[i] : (int16_t)sne_halves_at(c, s->bias)[i];
        most = sne_size_of(bias) > most ? sne_size_of(bias) : most;
    }
    for (i = 0; i < two * lanes && !SNE_KIND_READOUT(s->kind); i++) {
        const int32_t threshold = wide ? sne_words_at(c, s->threshold)[i] : (int16_t)sne_halves_at(c, s->threshold)[i];
        if (threshold < 1) {
            return SNE_E_TABLES;
        }
    }
    /* A timestep adds at most so much; firing takes a threshold off what is above it. */
    sums = sne_reach(most + added, decay, decay == SNE_DECAY_SHIFT ? SNE_KIND_SHIFT(s->kind) : s->decay, steps,
                     SNE_KIND_CLAMP(s->kind) ? clamp + 1u : 0u);
    *reached = !wide && sums > 0x8000u ? 0x8000u : sums;
    return !c->kernels->wraps && ((wide && sums > SNE_MOST_SUM) || (shifted && most + added > SNE_MOST_SUM)) ? SNE_E_SUMS : SNE_OK;
}

sne_status sne_stage_fits(const sne_checked *c, const sne_blob_stage *s, int first, uint64_t steps, uint64_t *reached)
{
    const sne_blob_synapses *const p = &s->synapses;
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint64_t inputs = (uint64_t)p->in_height * p->in_width * p->in_channels;
    const int multiplies = kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const int direct = first && c->head->encoder == SNE_BLOB_DIRECT;
    if (!sne_synapses_fit(c, p, s->kind, s->channels, s->stride) || multiplies != direct || s->spikes < -1 ||
        s->spikes >= (int32_t)c->head->n_spike_layers || (first && inputs != c->head->n_inputs)) {
        return SNE_E_TABLES;
    }
    if (kernel == SNE_MAXPOOL) {
        return s->spikes == -1 && s->channels == p->in_channels ? SNE_OK : SNE_E_TABLES;
    }
    return (s->spikes == -1) == (int)SNE_KIND_READOUT(s->kind) ? neurons_fit(c, s, direct, steps, reached) : SNE_E_TABLES;
}
