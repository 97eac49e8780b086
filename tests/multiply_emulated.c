/* Multiplication on an emulated core against the equation: what one position sees, of every width and size, and the
 * convolution of cores that take two positions at a time. */
#include "bare_metal.h"
#include "sne_kernels.h"

#define INPUTS 24 /* twos of them */
#define MOST 100  /* outputs */

/* Weights as a generated table lays them out, and as they are. */
static int8_t plain[2 * INPUTS][MOST];
static sne_weight packed[2 * INPUTS * MOST] SNE_WORD_ALIGNED;
static int8_t values[3 * 64];
static uint32_t rows[2 * INPUTS];
static int32_t wide[MOST + 4], expected[MOST + 4];
static int16_t narrow[MOST + 4] SNE_WORD_ALIGNED;

static int8_t extreme(void)
{
    const uint32_t word = random_word();
    const int8_t edges[4] = {-128, 127, 0, -1};
    return word & 0x100u ? edges[word & 3u] : (int8_t)(uint8_t)word;
}

static void weights(size_t stride, int small)
{
    size_t i, j, k;
    for (i = 0; i < 2 * INPUTS; i++) {
        for (j = 0; j < stride; j++) {
            plain[i][j] = small ? (int8_t)(extreme() >> 6) : extreme();
        }
    }
    for (i = 0; i < INPUTS; i++) {
        for (j = 0; j < stride; j += 4) {
            const int8_t *a = &plain[2 * i][j], *b = &plain[2 * i + 1][j];
            const sne_weight eight[8] = {SNE_P8(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3])};
            for (k = 0; k < 8; k++) {
                packed[2 * (i * stride + j) + k] = eight[k];
            }
        }
    }
}

/* Number of wrong outputs, and of a wrong number of values; outputs beyond `stride` must stay as they are. `n` values are seen,
 * in up to three runs that begin at any input. */
static int64_t tried(size_t stride, size_t n, int width, int small)
{
    sne_synapses p = {0};
    sne_view view = {0};
    int64_t wrong = 0;
    uint32_t run, i, seen = 0;
    size_t j;
    weights(stride, small);
    p.weight = packed;
    p.capacity = (uint16_t)(2u + random_word() % (2u * INPUTS - 2u));
    view.runs = n % 3u ? 1u : 3u;
    view.count = view.left = (uint32_t)n / view.runs;
    view.from = random_word() % 3u;
    view.from_step = view.count + random_word() % 3u;
    view.row_step = view.count + (2u * INPUTS - (uint32_t)n) / (view.runs + 1u);
    view.row = view.row_step - view.count;
    for (i = 0; i < sizeof values; i++) {
        values[i] = random_word() & 3u ? extreme() : 0;
    }
    for (j = 0; j < stride + 4; j++) {
        const uint32_t word = random_word();
        narrow[j] = (int16_t)(uint16_t)(word & 0x7ffu);
        wide[j] = expected[j] = width == 16 ? narrow[j] : (int32_t)word;
    }
    for (run = 0; run < view.runs; run++) {
        for (i = 0; i < view.count; i++) {
            const int32_t x = values[view.from + run * view.from_step + i];
            for (j = 0; j < stride; j++) {
                const int32_t product = plain[view.row + run * view.row_step + i][j] * x;
                expected[j] = (int32_t)((uint32_t)expected[j] + (uint32_t)product);
            }
            seen += x != 0;
        }
    }
    wrong += sne_gather_mac(&p, &view, values, width == 16 ? (void *)narrow : (void *)wide, stride, rows, width) != seen;
    for (j = 0; j < stride + 4; j++) {
        wrong += (width == 16 ? narrow[j] : wide[j]) != (width == 16 ? (int16_t)expected[j] : expected[j]);
    }
    return wrong;
}

#if defined(SNE_CONVOLVES)

#define SIDE 4 /* of a kernel, at most */
#define WIDE 9 /* an input, at most */

static int8_t kernel[SIDE][SIDE][6][24], image[SIDE + 2][WIDE][6];
static sne_weight blocks[SIDE * (SIDE * 6 + 2) * 24] SNE_WORD_ALIGNED;

/* The next weights of a table, of two values and four outputs from `output` on; values beyond the row have none. */
static sne_weight *two_values(sne_weight *at, uint32_t ky, uint32_t first, uint32_t second, const sne_synapses *p,
                              uint32_t output)
{
    const uint32_t run = (uint32_t)p->kernel_width * p->in_channels;
    int8_t w[2][4];
    uint32_t k;
    for (k = 0; k < 4u; k++) {
        w[0][k] = first < run ? kernel[ky][first / p->in_channels][first % p->in_channels][output + k] : 0;
        w[1][k] = second < run ? kernel[ky][second / p->in_channels][second % p->in_channels][output + k] : 0;
    }
    {
        const sne_weight eight[8] = {SNE_D8(w[0][0], w[0][1], w[0][2], w[0][3], w[1][0], w[1][1], w[1][2], w[1][3])};
        for (k = 0; k < 8u; k++) {
            *at++ = eight[k];
        }
    }
    return at;
}

static uint32_t below(uint32_t limit)
{
    return random_word() % limit;
}

/* Number of wrong currents and counts of one random convolution's output, of `stride` channels. */
static int64_t convolved(uint32_t stride)
{
    sne_synapses p = {0};
    sne_convolution c;
    sne_weight *at = blocks;
    uint32_t i, j, y, x, k, window[SIDE * (SIDE * 6 + 1)];
    int32_t bias[24], sums[48];
    int64_t wrong = 0;
    p.kernel_height = (uint16_t)(1u + below(SIDE));
    p.kernel_width = (uint16_t)(1u + below(SIDE));
    p.in_channels = (uint16_t)(1u + below(6));
    p.padding_height = (uint16_t)below(p.kernel_height);
    p.padding_width = (uint16_t)below(p.kernel_width);
    p.in_height = (uint16_t)(p.kernel_height + below(3));
    p.in_width = (uint16_t)(p.kernel_width + below(WIDE - SIDE + 1u));
    p.stride_height = (uint16_t)(1u + below(2));
    p.stride_width = (uint16_t)(1u + below(3));
    p.out_height = (uint16_t)((p.in_height + 2u * p.padding_height - p.kernel_height) / p.stride_height + 1u);
    p.out_width = (uint16_t)((p.in_width + 2u * p.padding_width - p.kernel_width) / p.stride_width + 1u);
    p.weight = blocks;
    for (i = 0; i < sizeof kernel; i++) { /* none takes 1 from -128 */
        int8_t *const w = (int8_t *)kernel + i;
        *w = extreme();
        *w = i % 2u && *w == -128 ? -127 : *w;
    }
    k = random_word() & 1u; /* many zeros, or few */
    for (i = 0; i < sizeof image; i++) {
        ((int8_t *)image)[i] = k && random_word() & 7u ? 0 : extreme();
    }
    for (j = 0; j < stride; j += 4u) {
        for (y = 0; y < p.kernel_height; y++) {
            const uint32_t run = (uint32_t)p.kernel_width * p.in_channels;
            for (i = 0; i < run; i += 4u) {
                if (run - i < 3u) {
                    at = two_values(at, y, i, i + 1u, &p, j);
                } else {
                    at = two_values(at, y, i, i + 2u, &p, j);
                    at = two_values(at, y, i + 1u, i + 3u, &p, j);
                }
            }
        }
    }
    for (j = 0; j < stride; j++) {
        bias[j] = (int32_t)random_word() >> 8;
    }
    {
        /* the image as the layer sees it, rows without gaps */
        static int8_t input[sizeof image];
        uint32_t filled = 0;
        for (y = 0; y < p.in_height; y++) {
            for (x = 0; x < p.in_width; x++) {
                for (i = 0; i < p.in_channels; i++) {
                    input[filled++] = image[y][x][i];
                }
            }
        }
        sne_begin_convolution(&p, window, &c);
        for (y = 0; y < p.out_height; y++) {
            sne_convolve_row(&p, input, y, &c);
            for (x = 0; x < p.out_width; x += 2u) {
                const int both = x + 1u < p.out_width;
                const int32_t from = ((int32_t)(x * p.stride_width) - p.padding_width) * p.in_channels;
                uint32_t seen = sne_convolve(&c, bias, from, both, sums, stride);
                for (k = 0; k < (both ? 2u : 1u); k++) {
                    int32_t sum[24];
                    uint32_t ky, kx;
                    for (j = 0; j < stride; j++) {
                        sum[j] = bias[j];
                    }
                    for (ky = 0; ky < p.kernel_height; ky++) {
                        for (kx = 0; kx < p.kernel_width; kx++) {
                            const uint32_t iy = y * p.stride_height + ky - p.padding_height;
                            const uint32_t ix = (x + k) * p.stride_width + kx - p.padding_width;
                            for (i = 0; iy < p.in_height && ix < p.in_width && i < p.in_channels; i++) {
                                for (j = 0; j < stride; j++) {
                                    sum[j] += kernel[ky][kx][i][j] * image[iy][ix][i];
                                }
                                seen -= image[iy][ix][i] != 0;
                            }
                        }
                    }
                    for (j = 0; j < stride; j++) {
                        wrong += sums[k * stride + j] != sum[j];
                    }
                }
                wrong += seen != 0;
            }
        }
    }
    return wrong;
}

#endif

int program(void)
{
    int64_t wrong = 0, runs = 0, convolutions = 0;
    size_t stride, n;
    for (stride = 4; stride <= MOST; stride += stride < 60 ? 4 : 20) {
        for (n = 1; n <= 2 * INPUTS; n += n < 7 ? 1 : 10) {
            wrong += tried(stride, n, 32, 0);
            wrong += tried(stride, n, 16, 1);
            wrong += tried(stride, n, 16, 0); /* only the lowest 16 bits of a sum count */
            runs += 3;
        }
    }
#if defined(SNE_CONVOLVES)
    for (n = 0; n < 300; n++) {
        wrong += convolved(4u + 4u * (uint32_t)(n % 6u));
        convolutions++;
    }
#endif
    print_line("runs", runs);
    print_line("convolutions", convolutions);
    print_line("wrong", wrong);
    return 0;
}
