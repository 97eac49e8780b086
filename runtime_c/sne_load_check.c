/* The check of a blob before it is run. A compiled model's numbers are proven when it is made; these may be anybody's. What is
 * held here: every table lies in the blob; every place of a stage lies in the arena, apart from the stage's others; no index in a
 * table leads out of a map or of the weights; no sum of 32 bits runs over (sums of 16 bits may, into wrong results alone). */
#include "sne_load_check.h"

#include "sne_nibbles.h"

typedef struct {
    const uint8_t *blob;
    const sne_blob *head;
    const sne_kernels *kernels;
    uint64_t arena; /* words */
} checked;

/* A part of the arena, in words. */
typedef struct {
    uint64_t first, n;
} place;

enum { PLACES = 5, LEAST_LIST = 32 };
static const uint64_t MOST_PAIRS = 1u << 20;
static const uint64_t MOST_INPUTS = 1u << 24, MOST_LOGIT = 1u << 30, MOST_SUM = 0x7fffffffu;

const sne_kernel *sne_find_kernel(const sne_kernels *kernels, uint32_t kind)
{
    uint32_t k;
    for (k = 0; k < kernels->n_kernels; k++) {
        if (kernels->kernels[k].kind == kind) {
            return kernels->kernels + k;
        }
    }
    return NULL;
}

/* Four bits a step: 64 bytes of table, not a kilobyte. */
static uint32_t crc_of(const uint8_t *bytes, size_t n)
{
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                       0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    uint32_t crc = 0xffffffffu;
    for (; n; n--) {
        crc ^= *bytes++;
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

static uint64_t words_of(uint64_t bits)
{
    return (bits + 31u) / 32u;
}

/* Do so many bytes lie in the blob, behind its header, from a word on? */
static int lies(const checked *c, uint32_t offset, uint64_t bytes)
{
    return (offset & 3u) == 0 && offset >= sizeof(sne_blob) && offset <= c->head->length && bytes <= c->head->length - offset;
}

static const uint16_t *halves_at(const checked *c, uint32_t offset)
{
    return (const uint16_t *)(const void *)(c->blob + offset);
}

static const int32_t *words_at(const checked *c, uint32_t offset)
{
    return (const int32_t *)(const void *)(c->blob + offset);
}

/* Does each of n bytes' numbers below n occur once? n <= 32 */
static int permutes(const uint8_t *bytes, uint32_t n)
{
    uint32_t seen = 0, i;
    for (i = 0; i < n; i++) {
        if (bytes[i] >= n || seen >> bytes[i] & 1u) {
            return 0;
        }
        seen |= (uint32_t)1 << bytes[i];
    }
    return 1;
}

/* Are all parts in the arena, and apart? */
static int apart(const place *places, uint32_t n, uint64_t arena)
{
    uint32_t i, k;
    for (i = 0; i < n; i++) {
        if (places[i].n > arena || places[i].first > arena - places[i].n) {
            return 0;
        }
        for (k = 0; k < i; k++) {
            if (places[i].n && places[k].n && places[i].first < places[k].first + places[k].n &&
                places[k].first < places[i].first + places[i].n) {
                return 0;
            }
        }
    }
    return 1;
}

/* Is an axis of n positions sound: pairs in order, each of a position below `positions` and a tap below `taps`? */
static int axis_fits(const checked *c, uint32_t start_at, uint32_t pairs_at, uint64_t n, uint32_t positions, uint32_t taps)
{
    const uint16_t *start;
    const sne_pair *pairs;
    uint32_t i;
    if (!lies(c, start_at, 2u * (n + 1u))) {
        return 0;
    }
    start = halves_at(c, start_at);
    for (i = 0; i < n; i++) {
        if (start[i] > start[i + 1u]) {
            return 0;
        }
    }
    if (start[0] != 0 || !lies(c, pairs_at, 4u * (uint64_t)start[n])) {
        return 0;
    }
    pairs = (const sne_pair *)(const void *)(c->blob + pairs_at);
    for (i = 0; i < start[n]; i++) {
        if (pairs[i].position >= positions || pairs[i].tap >= taps) {
            return 0;
        }
    }
    return 1;
}

/* Are the positions that an input column reaches neighbours, each through the tap a stride before the last one's? */
static int chains_fit(const checked *c, const sne_blob_stage *s)
{
    const uint16_t *start = halves_at(c, s->column_start);
    const sne_pair *pairs = (const sne_pair *)(const void *)(c->blob + s->column_pairs);
    uint32_t x, i;
    for (x = 0; x < s->in_width; x++) {
        for (i = start[x]; i + 1u < start[x + 1u]; i++) {
            if (pairs[i + 1u].position != pairs[i].position + 1u || pairs[i + 1u].tap + (uint32_t)s->stride_width != pairs[i].tap) {
                return 0;
            }
        }
    }
    return 1;
}

/* Does the divider divide every i < n by `divisor`? Rounded up, its product is too large first at the last i before a multiple. */
static int divides(const sne_blob_stage *s, uint32_t divisor, uint64_t n)
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

/* Along one axis: does every window meet the input? */
static int windows_fit(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t padding)
{
    return in && out && kernel && stride && padding < kernel && (uint64_t)(out - 1u) * stride < (uint64_t)in + padding;
}

/* Bytes that a stage's weights take, as this build's cores want them. */
static uint64_t weight_bytes(const checked *c, const sne_blob_stage *s)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind), order = c->kernels->order;
    const uint64_t run = (uint64_t)s->kernel_width * s->in_channels;
    const uint64_t rows = s->kernel_height * (kernel == SNE_DEPTHWISE ? s->kernel_width : run);
    if (kernel != SNE_MAC && kernel != SNE_CONVOLVE) {
        return rows * sne_pitch(s->stride, SNE_KIND_NIBBLES(s->kind) ? 4 : 8);
    }
    if (order == SNE_ORDER_BY_OUTPUT) {
        return s->stride * ((rows + 15u) / 16u * 16u);
    }
    if (kernel == SNE_CONVOLVE && order == SNE_ORDER_DSP) {
        return s->stride * s->kernel_height * ((run + 1u) / 2u * 2u);
    }
    return s->stride * ((rows + 1u) / 2u * 2u);
}

/* The geometry that a kernel relies on, its tables, and the room in its list. */
static int kernel_fits(const checked *c, const sne_blob_stage *s)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint64_t row = (uint64_t)s->in_width * s->in_channels;
    const int windows = windows_fit(s->in_height, s->out_height, s->kernel_height, s->stride_height, s->padding_height) &&
                        windows_fit(s->in_width, s->out_width, s->kernel_width, s->stride_width, s->padding_width);
    const uint64_t span = (uint64_t)(s->out_width - 1u) * s->stride_width + s->kernel_width;
    const uint64_t run = (uint64_t)s->kernel_width * s->in_channels;
    switch (kernel) {
    case SNE_GATHER:
    case SNE_MAC:
        return windows && s->capacity >= LEAST_LIST;
    case SNE_CONVOLVE:
        return windows && s->capacity >= LEAST_LIST && s->out_width > 1u && s->channels == s->stride &&
               2u * (uint32_t)s->channels <= 0xffffu && (run + 1u) / 2u * 2u * s->kernel_height <= s->capacity;
    case SNE_SWEEP:
        return windows && s->capacity >= span + 1u + LEAST_LIST;
    case SNE_SCATTER:
    case SNE_OVERLAP:
    case SNE_DEPTHWISE:
        return axis_fits(c, s->row_start, s->row_pairs, s->out_height, s->in_height, s->kernel_height) &&
               axis_fits(c, s->column_start, s->column_pairs, s->in_width, s->out_width, s->kernel_width) &&
               divides(s, s->in_channels, row) && (kernel != SNE_DEPTHWISE || s->in_channels == s->channels) &&
               (kernel != SNE_SCATTER ||
                (s->capacity >= 3u * (uint64_t)s->in_width + s->stride / 2u && chains_fit(c, s)));
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
static uint64_t most_rows(const checked *c, const sne_blob_stage *s)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint16_t *rows, *columns;
    uint32_t y, most = 0;
    if (kernel == SNE_GATHER || kernel == SNE_SWEEP || kernel == SNE_MAC || kernel == SNE_CONVOLVE) {
        return (uint64_t)s->kernel_height * s->kernel_width * s->in_channels;
    }
    rows = halves_at(c, s->row_start); /* of tables: all that any of an output row's positions gets */
    columns = halves_at(c, s->column_start);
    for (y = 0; y < s->out_height; y++) {
        const uint32_t n = (uint32_t)rows[y + 1u] - rows[y];
        most = n > most ? n : most;
    }
    return (uint64_t)most * columns[s->in_width] * s->in_channels;
}

static uint32_t size_of_weight(const checked *c, const sne_blob_stage *s, uint64_t row, uint32_t output)
{
    const int bits = SNE_KIND_NIBBLES(s->kind) ? 4 : 8;
    const uint8_t *const at = c->blob + s->weight + row * sne_pitch(s->stride, bits);
    const int32_t w = bits == 4 ? sne_nibble(at + (output >> 3 << 2), output & 7u) : sne_weight_at((const sne_weight *)at, output);
    return (uint32_t)(w < 0 ? -w : w);
}

/* What a timestep adds to one of a readout's outputs where every input spikes, signs aside; more than MOST_SUM where that would take
 * too long to find out. */
static uint64_t readout_sum(const checked *c, const sne_blob_stage *s, uint32_t output)
{
    const uint64_t rows = (uint64_t)s->kernel_height * s->kernel_width * s->in_channels;
    const uint16_t *down = NULL, *across = NULL;
    const sne_pair *pair = NULL, *column = NULL;
    uint64_t sum = 0, row;
    uint32_t y, x, k;
    if (SNE_KIND_KERNEL(s->kind) == SNE_GATHER) {
        for (row = 0; row < rows; row++) {
            sum += size_of_weight(c, s, row, output);
        }
        return sum;
    }
    down = halves_at(c, s->row_start);
    across = halves_at(c, s->column_start);
    pair = (const sne_pair *)(const void *)(c->blob + s->row_pairs);
    column = (const sne_pair *)(const void *)(c->blob + s->column_pairs);
    if ((uint64_t)down[1] * across[s->in_width] * s->in_channels > MOST_PAIRS) {
        return (uint64_t)MOST_SUM + 1u;
    }
    for (y = 0; y < down[1]; y++) {
        for (x = 0; x < across[s->in_width]; x++) {
            row = ((uint64_t)pair[y].tap * s->kernel_width + column[x].tap) * s->in_channels;
            for (k = 0; k < s->in_channels; k++) {
                sum += size_of_weight(c, s, row + k, output);
            }
        }
    }
    return sum;
}

/* Neurons: their tables, and that no sum of 32 bits runs over. `direct`: the layer multiplies values; `reached`: how far from 0 a
 * membrane gets, at most. */
static int neurons_fit(const checked *c, const sne_blob_stage *s, int direct, uint64_t *reached)
{
    const int wide = (int)SNE_KIND_WIDE(s->kind), shifted = (int)SNE_KIND_SHIFTED(s->kind), long_bias = wide || shifted;
    const uint64_t lanes = s->stride, two = SNE_KIND_KERNEL(s->kind) == SNE_CONVOLVE ? 2u : 1u;
    const uint64_t added = most_rows(c, s) * (direct ? 128u * 128u : 128u);
    uint64_t most = 1, sums;
    uint32_t i;
    if (s->channels == 0 || s->stride != ((s->channels + 3u) & ~3u) || s->decay > 0x7fffu ||
        !lies(c, s->threshold, two * lanes * (wide ? 4u : 2u)) || !lies(c, s->bias, lanes * (long_bias ? 4u : 2u)) ||
        shifted != (s->current_shift != 0) || s->current_shift > 31u || (shifted && !direct) || s->clamp_low > 0 ||
        s->clamp_high < 0 || (SNE_KIND_KERNEL(s->kind) == SNE_DEPTHWISE && SNE_KIND_NIBBLES(s->kind))) {
        return 0;
    }
    for (i = 0; i < lanes; i++) {
        const int64_t bias = long_bias ? words_at(c, s->bias)[i] : (int16_t)halves_at(c, s->bias)[i];
        const uint64_t size = (uint64_t)(bias < 0 ? -bias : bias);
        most = size > most ? size : most;
    }
    for (i = 0; i < two * lanes && !SNE_KIND_READOUT(s->kind); i++) {
        const int32_t threshold = wide ? words_at(c, s->threshold)[i] : (int16_t)halves_at(c, s->threshold)[i];
        if (threshold < 1) {
            return 0;
        }
    }
    /* A timestep adds at most so much; firing takes a threshold off what is above it. */
    sums = (most + added) * (c->head->timesteps + 1u);
    *reached = !wide && sums > 0x8000u ? 0x8000u : sums;
    return (!wide || sums <= MOST_LOGIT / 2u) && (!shifted || most + added <= MOST_SUM);
}

/* A stage: all that its kernel relies on but its places. `first`: it takes the input. */
static int stage_fits(const checked *c, const sne_blob_stage *s, int first, uint64_t *reached)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint64_t inputs = (uint64_t)s->in_height * s->in_width * s->in_channels;
    const uint64_t outputs = (uint64_t)s->out_height * s->out_width * s->channels;
    const int multiplies = kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const int direct = first && c->head->encoder == SNE_BLOB_DIRECT;
    if (inputs == 0 || inputs > MOST_INPUTS || outputs == 0 || outputs > MOST_INPUTS || multiplies != direct ||
        s->spikes < -1 || s->spikes >= (int32_t)c->head->n_spike_layers || (first && inputs != c->head->n_inputs)) {
        return 0;
    }
    if (kernel == SNE_MAXPOOL) {
        return s->spikes == -1 && s->channels == s->in_channels && kernel_fits(c, s);
    }
    return (s->spikes == -1) == (int)SNE_KIND_READOUT(s->kind) && kernel_fits(c, s) && neurons_fit(c, s, direct, reached) &&
           weight_bytes(c, s) <= MOST_SUM && lies(c, s->weight, weight_bytes(c, s));
}

/* Words of all of a stage's membranes, and of those of one tile. */
static uint64_t kept_words(const sne_blob_stage *s)
{
    const uint64_t neurons = (uint64_t)s->out_height * s->out_width * s->stride;
    return SNE_KIND_KERNEL(s->kind) == SNE_MAXPOOL ? 0u : SNE_KIND_WIDE(s->kind) ? neurons : neurons / 2u;
}

static uint64_t tile_words(const sne_blob_stage *s)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const int row = kernel == SNE_SWEEP || kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    const uint64_t positions = kernel == SNE_CONVOLVE ? 2u : row ? s->out_width : 1u;
    const uint64_t neurons = positions * s->stride;
    return kernel == SNE_MAXPOOL ? 0u : SNE_KIND_WIDE(s->kind) ? neurons : neurons / 2u;
}

static uint64_t out_words(const sne_blob_stage *s)
{
    return SNE_KIND_READOUT(s->kind) ? 0u : words_of((uint64_t)s->out_height * s->out_width * s->channels);
}

static uint64_t in_words(const sne_blob_stage *s)
{
    return words_of((uint64_t)s->in_height * s->in_width * s->in_channels);
}

/* A stage through all timesteps: its places. `first`: its input lies outside, unless it is encoded. */
static int places_fit(const checked *c, const sne_blob_stage *s, int first)
{
    const uint32_t kernel = SNE_KIND_KERNEL(s->kind);
    const uint64_t timesteps = c->head->timesteps, tile = tile_words(s);
    const int outside = first && c->head->encoder != SNE_BLOB_RATE;
    const int multiplies = kernel == SNE_MAC || kernel == SNE_CONVOLVE;
    const uint64_t shifted = tile + (SNE_KIND_SHIFTED(s->kind) ? s->stride : 0u), sums = 2u * (uint64_t)s->stride;
    place places[PLACES];
    places[0].first = s->in;
    places[0].n = outside ? 0u : timesteps * in_words(s);
    places[1].first = s->out;
    places[1].n = timesteps * out_words(s);
    places[2].first = s->membranes;
    places[2].n = tile;
    places[3].first = s->current;
    places[3].n = !multiplies ? 0u : kernel == SNE_CONVOLVE && sums > shifted ? sums : shifted;
    places[4].first = s->rows;
    places[4].n = kernel == SNE_MAXPOOL ? 0u : s->capacity;
    return apart(places, PLACES, c->arena);
}

/* A student that may end early, timestep by timestep. */
static int steps_fit(const checked *c, const sne_blob_student *student, const sne_blob_stage *stages)
{
    const uint32_t begin = c->head->encoder == SNE_BLOB_DIRECT ? 1u : 0u;
    const uint64_t timesteps = c->head->timesteps;
    uint64_t rows = 0, kept = 0;
    place places[4];
    uint32_t i;
    if (student->n_stages <= begin || student->words != in_words(stages + begin)) {
        return 0;
    }
    for (i = begin; i < student->n_stages; i++) {
        const sne_blob_stage *const s = stages + i;
        const uint64_t end = (uint64_t)s->kept + kept_words(s);
        if (s->kept < student->first || out_words(s) > student->map_words || (i > begin && in_words(s) > student->map_words)) {
            return 0;
        }
        rows = s->capacity > rows ? s->capacity : rows;
        kept = end - student->first > kept ? end - student->first : kept;
    }
    places[0].first = student->maps;
    places[0].n = 2u * (uint64_t)student->map_words;
    places[1].first = student->rows;
    places[1].n = rows;
    places[2].first = student->kept;
    places[2].n = kept;
    places[3].first = begin ? stages->out : stages->in;
    places[3].n = c->head->encoder == SNE_BLOB_EVENTS ? 0u : timesteps * student->words;
    return apart(places, 4, c->arena);
}

/* A student; adds to `logit` what it brings at most. */
static sne_status check_student(const checked *c, const sne_blob_student *student, uint64_t *logit)
{
    const uint32_t n = student->n_stages, classes = c->head->n_classes;
    const sne_blob_stage *stages, *last;
    uint64_t largest = 0, reached = 0; /* by the last stage */
    uint32_t i;
    if (n == 0 || !lies(c, student->stages, (uint64_t)n * sizeof(sne_blob_stage)) || !lies(c, student->gain, 4u * (uint64_t)classes) ||
        !lies(c, student->bias, 4u * (uint64_t)classes)) {
        return SNE_E_TABLES;
    }
    stages = (const sne_blob_stage *)(const void *)(c->blob + student->stages);
    last = stages + n - 1u;
    for (i = 0; i < n; i++) {
        const sne_blob_stage *const s = stages + i;
        if (!sne_find_kernel(c->kernels, s->kind)) {
            return SNE_E_KERNELS;
        }
        if ((s == last) != (int)SNE_KIND_READOUT(s->kind) || !stage_fits(c, s, i == 0, &reached) || !places_fit(c, s, i == 0)) {
            return SNE_E_TABLES;
        }
    }
    if (last->channels != classes || last->out_height != 1u || last->out_width != 1u ||
        (SNE_KIND_KERNEL(last->kind) != SNE_GATHER && SNE_KIND_KERNEL(last->kind) != SNE_COLLECT) ||
        (c->head->early && !steps_fit(c, student, stages))) {
        return SNE_E_TABLES;
    }
    for (i = 0; i < classes; i++) {
        const int32_t resting = SNE_KIND_WIDE(last->kind) ? words_at(c, last->bias)[i] : (int16_t)halves_at(c, last->bias)[i];
        const uint64_t once = readout_sum(c, last, i) + (uint64_t)(resting < 0 ? -(int64_t)resting : resting);
        const uint64_t all = once * c->head->timesteps, readout = all < reached ? all : reached;
        const int64_t gain = words_at(c, student->gain)[i], bias = words_at(c, student->bias)[i];
        const uint64_t most = (uint64_t)(gain < 0 ? -gain : gain) * readout + (uint64_t)(bias < 0 ? -bias : bias);
        largest = most > largest ? most : largest;
    }
    *logit += largest;
    return SNE_OK;
}

/* What belongs to no student. */
static int model_fits(const checked *c)
{
    const sne_blob *const h = c->head;
    const uint64_t students = h->n_students, classes = h->n_classes, timesteps = h->timesteps;
    const uint64_t input = h->encoder == SNE_BLOB_EVENTS ? 4u * timesteps * words_of(h->n_inputs) : h->n_inputs;
    const uint32_t head = 4u * (h->n_classes + (h->n_spike_layers ? h->n_spike_layers : 1u));
    uint32_t i;
    if (classes == 0 || timesteps == 0 || h->n_inputs == 0 || h->encoder > SNE_BLOB_EVENTS || h->input_bytes != input ||
        (h->state_bytes & 3u) != 0 || h->state_bytes < head || !lies(c, h->name, 1) ||
        !lies(c, h->students, students * sizeof(sne_blob_student)) || !lies(c, h->order_of, students) ||
        !permutes(c->blob + h->order_of, h->n_students) || !lies(c, h->bias, 4u * classes) ||
        (h->margins && !lies(c, h->margins, 4u * (students - 1u))) ||
        (h->early && !lies(c, h->early, 4u * students * (timesteps - 1u))) ||
        (h->rejection && !lies(c, h->rejection, sizeof(sne_rejection)))) {
        return 0;
    }
    for (i = h->name; c->blob[i]; i++) {
        if (i + 1u >= h->length) {
            return 0;
        }
    }
    if (h->routes) {
        const uint64_t pairs = classes * (classes - 1u) / 2u;
        uint64_t row;
        if (!lies(c, h->routes, pairs * students)) {
            return 0;
        }
        for (row = 0; row < pairs; row++) {
            if (!permutes(c->blob + h->routes + row * students, h->n_students)) {
                return 0;
            }
        }
    }
    return 1;
}

sne_status sne_check_blob(const uint8_t *blob, size_t length, const sne_kernels *kernels)
{
    static const uint16_t one = 1;
    const sne_blob *const head = (const sne_blob *)(const void *)blob;
    checked c;
    uint64_t logit = 0;
    uint32_t k;
    c.blob = blob;
    c.head = head;
    c.kernels = kernels;
    if (length < sizeof(sne_blob) || *(const uint8_t *)(const void *)&one != 1 || head->magic != SNE_BLOB_MAGIC ||
        head->version != SNE_BLOB_VERSION || head->length < sizeof(sne_blob) || head->length > length ||
        crc_of(blob + 16, head->length - 16u) != head->crc) {
        return SNE_E_BLOB;
    }
    if (head->order != kernels->order || head->n_students > SNE_LOAD_STUDENTS) {
        return SNE_E_KERNELS;
    }
    if (head->n_students == 0 || !model_fits(&c)) {
        return SNE_E_TABLES;
    }
    c.arena = head->state_bytes / 4u - head->n_classes - (head->n_spike_layers ? head->n_spike_layers : 1u);
    for (k = 0; k < head->n_students; k++) {
        const sne_blob_student *const student = (const sne_blob_student *)(const void *)(blob + head->students) + k;
        const sne_status status = check_student(&c, student, &logit);
        if (status != SNE_OK) {
            return status;
        }
    }
    for (k = 0; k < head->n_classes; k++) {
        const int64_t bias = words_at(&c, head->bias)[k];
        if (logit + (uint64_t)(bias < 0 ? -bias : bias) > MOST_LOGIT) {
            return SNE_E_TABLES;
        }
    }
    return SNE_OK;
}
