/* Rows of weights added to membranes on an emulated core: its kernels against the equation, for weights of 8 and 4 bits. */
#include "bare_metal.h"
#include "sne_kernels.h"

enum { ROWS = 24, MOST = 132, LISTED = 255 };

/* Weights as a generated table lays them out, and as they are; membranes with words around them that nobody may touch. */
static int8_t plain[ROWS][MOST];
static union {
    sne_weight bytes[ROWS * MOST];
    uint8_t nibbles[ROWS * MOST];
} packed SNE_WORD_ALIGNED;
static uint32_t rows[LISTED];
static int32_t given[MOST + 8], want[MOST + 8];
static union {
    int32_t wide[MOST + 8];
    int16_t narrow[MOST + 8];
} got;

static void weights(size_t stride, int bits)
{
    const size_t pitch = sne_pitch(stride, bits);
    size_t i, j, k;
    for (i = 0; i < ROWS; i++) {
        int8_t *const w = plain[i];
        for (j = 0; j < stride; j++) {
            const uint32_t word = random_word();
            const int8_t value = word & 0x300u ? (int8_t)(uint8_t)word : word & 1u ? 127 : -128;
            w[j] = bits == 8 ? value : (int8_t)(value < 0 ? (value - 15) / 16 : value / 16);
        }
        for (j = 0; j < stride && bits == 8; j += 4) {
            const sne_weight four[4] = {SNE_W4(w[j], w[j + 1], w[j + 2], w[j + 3])};
            for (k = 0; k < 4; k++) {
                packed.bytes[i * pitch + j + k] = four[k];
            }
        }
        for (j = 0; j < 2 * pitch && bits == 4; j++) {
            const size_t place = i * pitch + (j >> 3 << 2) + ((j & 1u) << 1 | (j >> 1 & 1u));
            const uint32_t half = (uint32_t)((j < stride ? w[j] : 0) + 8) << (j & 4u);
            packed.nibbles[place] = (uint8_t)((j & 4u ? packed.nibbles[place] : 0u) | half);
        }
    }
}

/* Number of wrong membranes. Partial sums stay within the membranes' width, some at its very end. */
static int64_t tried(size_t stride, size_t n, int width, int bits, int turned)
{
    const size_t pitch = sne_pitch(stride, bits);
    int64_t wrong = 0;
    size_t i, j;
    for (i = 0; i < n; i++) {
        rows[i] = random_word() % ROWS;
    }
    for (j = 0; j < stride + 8; j++) {
        const uint32_t word = random_word();
        const int32_t most = width == 16 ? 32767 : 2147483647;
        int32_t sum = 0, low = 0, high = 0;
        for (i = 0; i < n && j >= 4 && j < stride + 4; i++) {
            sum += plain[rows[i]][j - 4];
            low = sum < low ? sum : low;
            high = sum > high ? sum : high;
        }
        given[j] = word & 4u ? (int32_t)(word >> 24) : word & 8u ? most - high : -most - 1 - low;
        want[j] = given[j] + sum;
    }
    for (j = 0; j < stride + 8; j++) {
        sne_put(&got, j, given[j], width);
    }
    for (i = 0; i < n; i++) {
        rows[i] *= (uint32_t)pitch;
    }
    if (turned) {
        sne_turn(sne_at(&got, 4, width), stride);
    }
    sne_bring_rows(sne_at(&got, 4, width), packed.bytes, rows, rows + n, stride, width, bits, turned);
    if (turned) {
        sne_turn(sne_at(&got, 4, width), stride);
    }
    for (j = 0; j < stride + 8; j++) {
        wrong += sne_get(&got, j, width) != want[j];
    }
    return wrong;
}

int program(void)
{
    const int turned = sne_turned(SNE_GATHER, 8, 16, SNE_DECAY_NONE, 0, SNE_RESET_SUBTRACT, 0); /* where it can be so */
    int64_t wrong = 0, runs = 0;
    size_t stride, n;
    for (stride = 4; stride <= MOST; stride += 4) {
        weights(stride, 8);
        for (n = 1; n <= LISTED; n += n < 6 ? 1 : 1 + random_word() % 100) {
            wrong += tried(stride, n, 16, 8, 0) + tried(stride, n, 32, 8, 0) + tried(stride, n, 16, 8, turned);
            runs += 3;
        }
        weights(stride, 4);
        for (n = 1; n <= LISTED; n += n < 6 ? 1 : 1 + random_word() % 100) {
            wrong += tried(stride, n, 16, 4, 0) + tried(stride, n, 32, 4, 0);
            runs += 2;
        }
    }
    print_line("runs", runs);
    print_line("wrong", wrong);
    return 0;
}
