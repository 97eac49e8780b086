/* Whole layers with Helium against the equations, on random shapes, inputs and neurons: those that take a direct input, and those
 * that gather what a window sees. Prints how many were tried, of what, and how many were wrong. */
#define SNE_BY_OUTPUT
#include "bare_metal.h"
#include "sne_kernels.h"

enum { INPUTS = 12 * 12 * 24, WINDOW = 640, CHANNELS = 64, POSITIONS = 49, TIMESTEPS = 5, GUARD = 0x5a };

static int8_t x[INPUTS], plain[WINDOW][CHANNELS];
static sne_weight packed[WINDOW * CHANNELS + 1024] SNE_WORD_ALIGNED;
static int32_t threshold[CHANNELS], bias[CHANNELS], current[CHANNELS], membranes[POSITIONS * CHANNELS + 4];
static int32_t expected[POSITIONS * CHANNELS], sums[TIMESTEPS][CHANNELS];
static uint32_t in[TIMESTEPS * ((INPUTS + 31) / 32)], rows[160 + 1];
static uint32_t out[TIMESTEPS * POSITIONS * CHANNELS / 32 + 1], want[TIMESTEPS * POSITIONS * CHANNELS / 32 + 1];

static uint32_t below(uint32_t n)
{
    return (random_word() >> 8) % n;
}

static sne_synapses random_synapses(size_t channels_in, size_t most_kernel)
{
    sne_synapses p = {packed, {NULL, NULL}, {NULL, NULL}, {0, 0, 1}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const int flat = (int)below(2);
    p.in_channels = (uint16_t)channels_in;
    do {
        p.in_height = (uint16_t)(flat ? 1 : 1 + below(12));
        p.in_width = (uint16_t)(1 + below(12));
        p.kernel_height = (uint16_t)(flat ? 1 : 1 + below((uint32_t)most_kernel));
        p.kernel_width = (uint16_t)(1 + below((uint32_t)most_kernel));
        p.stride_height = (uint16_t)(1 + below(3));
        p.stride_width = (uint16_t)(1 + below(3));
        p.padding_height = (uint16_t)(flat ? 0 : below(p.kernel_height));
        p.padding_width = (uint16_t)below(p.kernel_width);
    } while (p.kernel_height > p.in_height + 2 * p.padding_height || p.kernel_width > p.in_width + 2 * p.padding_width ||
             p.kernel_height * p.kernel_width * p.in_channels > WINDOW);
    p.out_height = (uint16_t)((p.in_height + 2 * p.padding_height - p.kernel_height) / p.stride_height + 1);
    p.out_width = (uint16_t)((p.in_width + 2 * p.padding_width - p.kernel_width) / p.stride_width + 1);
    return p;
}

static void random_layer(sne_synapses *p, sne_neurons *q, size_t channels, int width, int by_output)
{
    const size_t window = (size_t)p->kernel_height * p->kernel_width * p->in_channels, stride = (channels + 3) & ~(size_t)3;
    const size_t pitch = (window + 15) & ~(size_t)15;
    size_t i, j;
    p->capacity = (uint16_t)(by_output && below(4) == 0 ? window / 8 : window + 31 < 160 ? window + 31 : 160);
    for (i = 0; i < sizeof packed; i++) {
        packed[i] = 0;
    }
    for (i = 0; i < window; i++) {
        for (j = 0; j < stride; j++) {
            plain[i][j] = j < channels ? (int8_t)((int32_t)below(256) - 128) : 0;
            if (width == 16) {
                plain[i][j] = (int8_t)(plain[i][j] / (by_output ? 64 : 8));
            }
            packed[by_output ? j * pitch + i : i * stride + j] = plain[i][j];
        }
    }
    for (j = 0; j < stride; j++) {
        sne_put(threshold, j, j < channels ? (int32_t)below(width == 16 ? 40 : 600) + 1 : width == 16 ? INT16_MAX : INT32_MAX, width);
        sne_put(bias, j, j < channels ? (int32_t)below(200) - 100 : 0, width);
    }
    q->threshold = threshold;
    q->bias = bias;
    q->clamp_low = -300;
    q->clamp_high = 400;
    q->channels = (uint16_t)channels;
    q->stride = (uint16_t)stride;
    q->decay = (uint16_t)below(32768);
    q->width = (uint16_t)width;
}

/* What one position's inputs bring in each timestep, or once (`values`); returns how many of them there are. */
static uint32_t brought(const sne_synapses *p, const sne_neurons *q, size_t y, size_t column, size_t timesteps, int values)
{
    const size_t words = sne_words((size_t)p->in_height * p->in_width * p->in_channels);
    uint32_t n = 0;
    size_t t, i, j, ky, kx, c;
    for (t = 0; t < timesteps; t++) {
        for (j = 0; j < q->stride; j++) {
            sums[t][j] = 0;
        }
        for (i = 0, ky = 0; ky < p->kernel_height; ky++) {
            for (kx = 0; kx < p->kernel_width; kx++) {
                for (c = 0; c < p->in_channels; c++, i++) {
                    const size_t iy = y * p->stride_height + ky - p->padding_height;
                    const size_t ix = column * p->stride_width + kx - p->padding_width;
                    const size_t place = (iy * p->in_width + ix) * p->in_channels + c;
                    int32_t value = 0;
                    if (iy < p->in_height && ix < p->in_width) {
                        value = values ? x[place] : (int32_t)(in[t * words + (place >> 5)] >> (place & 31) & 1);
                    }
                    n += value != 0;
                    for (j = 0; value && j < q->stride; j++) {
                        sums[t][j] += value * plain[i][j];
                    }
                }
            }
        }
    }
    return n;
}

static int differs(const void *a, const void *b, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)a, *q = (const uint8_t *)b;
    while (bytes--) {
        if (*p++ != *q++) {
            return 1;
        }
    }
    return 0;
}

typedef uint32_t layer_function(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost);
typedef size_t fire_function(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits, size_t first);

static int64_t tried, gathered, together, apart, short_windows, row_by_row;

/* Is a layer's outcome another than the equations'? */
static int wrong(layer_function layer, fire_function fire, int width, int values)
{
    sne_synapses p = random_synapses(values ? 1 + below(below(3) ? 3 : 24) : 1 + below(24), values ? 7 : 5);
    sne_neurons q;
    sne_job job = {in, x, out, membranes, current, rows, 1 + below(TIMESTEPS), 1, 1};
    sne_cost cost = {0, 0, 0};
    const size_t words = sne_words((size_t)p.in_height * p.in_width * p.in_channels);
    const size_t channels = below(4) ? 8 * (1 + below(CHANNELS / 8)) : 1 + below(CHANNELS), positions = (size_t)p.out_height * p.out_width;
    uint32_t n = 0, fired = 0, got, flips = below(4);
    size_t i, j, t, out_words;
    if (positions > POSITIONS) {
        return 0;
    }
    random_layer(&p, &q, channels, width, values);
    out_words = sne_words(positions * channels);
    for (i = 0; i < INPUTS; i++) {
        x[i] = (int8_t)(below(4) ? (int32_t)below(256) - 128 : 0);
    }
    for (i = 0; i < words * job.timesteps; i++) { /* timesteps have nothing, or much in common */
        const uint32_t word = random_word() & random_word();
        in[i] = i < words || flips == 0 ? word : in[i - words] ^ (word & random_word() & (flips > 1 ? random_word() : ~0u));
    }
    for (i = 0; i < sizeof out / 4; i++) {
        out[i] = want[i] = i < out_words * job.timesteps ? 0 : GUARD;
    }
    rows[p.capacity] = GUARD;
    for (i = 0; i < positions; i++) {
        void *const v = sne_at(expected, i * q.stride, width);
        const void *drive = bias;
        n += brought(&p, &q, i / p.out_width, i % p.out_width, values ? 1 : job.timesteps, values);
        sne_charge_portable(v, bias, q.stride, width);
        for (j = 0; values && j < q.stride; j++) {
            sne_put(current, j, sne_get(bias, j, width) + sums[0][j], width);
            sne_put(v, j, sne_get(current, j, width), width);
            drive = current;
        }
        for (t = 0; t < job.timesteps; t++) {
            for (j = 0; !values && j < q.stride; j++) {
                sne_put(v, j, sne_get(v, j, width) + sums[t][j], width);
            }
            fired += (uint32_t)fire(&q, v, drive, 1, want + t * out_words, i * channels);
        }
    }
    tried++;
    gathered += !values && sne_window_room(&p, &q) != 0;
    together += values && p.kernel_height > 1;
    short_windows += values && p.kernel_height * p.kernel_width * p.in_channels <= 16;
    row_by_row += values && p.kernel_height > 1 && p.kernel_height * p.kernel_width * p.in_channels > 4 * p.capacity;
    apart += channels % 8 != 0;
    got = layer(&p, &q, &job, &cost);
    return got != fired || (values ? cost.macs : cost.synaptic_ops) != n * channels || rows[p.capacity] != GUARD ||
           differs(out, want, sizeof out) || differs(membranes, expected, positions * q.stride * (size_t)width / 8);
}

#define KIND(kernel, width, leak, shift, reset, clamp)                                                                          \
    static size_t own_##kernel##width##leak##shift##reset##clamp(const sne_neurons *q, void *v, const void *drive, size_t n,    \
                                                                 uint32_t *bits, size_t first)                                  \
    {                                                                                                                           \
        return sne_fire(q, v, drive, n, bits, first, width, SNE_DECAY_##leak, shift ? shift : q->decay, SNE_RESET_##reset,      \
                        clamp, 0);                                                                                              \
    }                                                                                                                           \
    static size_t plain_##kernel##width##leak##shift##reset##clamp(const sne_neurons *q, void *v, const void *drive, size_t n,  \
                                                                   uint32_t *bits, size_t first)                                \
    {                                                                                                                           \
        return sne_fire_portable(q, v, drive, n, bits, first, width, SNE_DECAY_##leak, shift ? shift : q->decay,                \
                                 SNE_RESET_##reset, clamp);                                                                     \
    }                                                                                                                           \
    static uint32_t layer_##kernel##width##leak##shift##reset##clamp(const sne_synapses *p, const sne_neurons *q,               \
                                                                     const sne_job *job, sne_cost *cost)                        \
    {                                                                                                                           \
        const sne_kind kind = {SNE_##kernel, 8, width, SNE_DECAY_##leak, shift ? shift : q->decay, SNE_RESET_##reset, clamp};   \
        return sne_layer(p, q, job, cost, own_##kernel##width##leak##shift##reset##clamp, kind);                                \
    }
#define RUN(kernel, width, leak, shift, reset, clamp)                                                          \
    for (i = 0; i < CASES; i++) {                                                                              \
        failures += wrong(layer_##kernel##width##leak##shift##reset##clamp,                                    \
                          plain_##kernel##width##leak##shift##reset##clamp, width, SNE_##kernel == SNE_MAC);   \
    }
#define KINDS(what)                                                                                                      \
    what(MAC, 32, SHIFT, 1, SUBTRACT, 0) what(MAC, 32, SHIFT, 3, DELAYED, 0) what(MAC, 32, Q15, 0, ZERO, 0)              \
    what(MAC, 32, NONE, 0, SUBTRACT, 1) what(MAC, 16, SHIFT, 1, SUBTRACT, 0) what(MAC, 16, Q15, 0, DELAYED, 0)           \
    what(MAC, 16, SHIFT, 2, ZERO, 1) what(GATHER, 16, SHIFT, 1, SUBTRACT, 0) what(GATHER, 16, SHIFT, 4, DELAYED, 0)      \
    what(GATHER, 16, Q15, 0, ZERO, 0) what(GATHER, 16, NONE, 0, SUBTRACT, 0)

KINDS(KIND)

int program(void)
{
    int64_t failures = 0;
    int i;
    KINDS(RUN)
    print_line("tried", tried);
    print_line("gathered", gathered);
    print_line("together", together);
    print_line("short", short_windows);
    print_line("row_by_row", row_by_row);
    print_line("apart", apart);
    print_line("wrong", failures);
    return 0;
}
