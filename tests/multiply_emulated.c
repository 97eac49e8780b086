/* Multiplication on an emulated core: its kernels against the equation, on random lists of every width and size. */
#include "bare_metal.h"
#include "sne_kernels.h"

#define INPUTS 24
#define MOST 100 /* outputs */

/* Weights as a generated table lays them out, and as they are. */
static int8_t plain[2 * INPUTS][MOST];
static sne_weight packed[2 * INPUTS * MOST] SNE_WORD_ALIGNED;
static uint32_t pairs[2 * INPUTS];
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

/* Number of wrong outputs; those beyond `stride` must stay as they are. */
static int64_t tried(size_t stride, size_t n, int width, int small)
{
    int64_t wrong = 0;
    size_t e, j;
    weights(stride, small);
    for (j = 0; j < stride + 4; j++) {
        const uint32_t word = random_word();
        narrow[j] = (int16_t)(uint16_t)(word & 0x7ffu);
        wide[j] = expected[j] = width == 16 ? narrow[j] : (int32_t)word;
    }
    for (e = 0; e < n; e++) {
        const uint32_t row = random_word() % INPUTS;
        const int8_t values[2] = {extreme(), extreme()};
        pairs[2 * e] = 2 * row * (uint32_t)stride;
        pairs[2 * e + 1] = sne_two_values(values);
        for (j = 0; j < stride; j++) {
            const int32_t sum = plain[2 * row][j] * values[0] + plain[2 * row + 1][j] * values[1];
            expected[j] = (int32_t)((uint32_t)expected[j] + (uint32_t)sum);
        }
    }
    sne_mac(width == 16 ? (void *)narrow : (void *)wide, packed, stride, pairs, 2 * n, width);
    for (j = 0; j < stride + 4; j++) {
        wrong += (width == 16 ? narrow[j] : wide[j]) != (width == 16 ? (int16_t)expected[j] : expected[j]);
    }
    return wrong;
}

int program(void)
{
    int64_t wrong = 0, runs = 0;
    size_t stride, n;
    for (stride = 4; stride <= MOST; stride += stride < 60 ? 4 : 20) {
        for (n = 0; n <= INPUTS; n += n < 5 ? 1 : 9) {
            wrong += tried(stride, n, 32, 0);
            wrong += tried(stride, n, 16, 1);
            wrong += tried(stride, n, 16, 0); /* only the lowest 16 bits of a sum count */
            runs += 3;
        }
    }
    print_line("runs", runs);
    print_line("wrong", wrong);
    return 0;
}
