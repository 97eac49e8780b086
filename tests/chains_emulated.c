/* A spike's rows for neighbouring positions on an emulated core: its kernels against the equation, on random chains. */
#include "bare_metal.h"
#include "sne_kernels.h"

enum { POSITIONS = 5, MOST = 132, GAP = 68, ROWS = POSITIONS * (MOST + GAP), MEMBRANES = POSITIONS * MOST };

/* Weights as a generated table lays them out, and as they are; membranes with words around them that nobody may touch. */
static int8_t plain[ROWS];
static sne_weight packed[ROWS] SNE_WORD_ALIGNED;
static int32_t given[MEMBRANES + 8], want[MEMBRANES + 8];
static union {
    int32_t wide[MEMBRANES + 8];
    int16_t narrow[MEMBRANES + 8];
} got;

/* Number of wrong membranes. The sums are taken to the membranes' width, as the proven bounds let them be. */
static int64_t tried(size_t stride, size_t n, size_t gap, int width, int turned)
{
    const size_t back = stride + 4 * gap, top = (n - 1) * back;
    const sne_chain chain = {stride, back + stride};
    int64_t wrong = 0;
    size_t i, j;
    for (i = 0; i < top + stride; i += 4) {
        int8_t *const w = plain + i;
        for (j = 0; j < 4; j++) {
            const uint32_t word = random_word();
            w[j] = word & 0x300u ? (int8_t)(uint8_t)word : word & 1u ? 127 : -128;
        }
        {
            const sne_weight four[4] = {SNE_W4(w[0], w[1], w[2], w[3])};
            for (j = 0; j < 4; j++) {
                packed[i + j] = four[j];
            }
        }
    }
    for (i = 0; i < n * stride + 8; i++) {
        const int32_t v = (int32_t)random_word();
        given[i] = want[i] = width == 32 ? v >> 1 : (random_word() & 0x300u ? (int16_t)v : v & 1 ? 32767 : -32768);
        if (i >= 4 && i < n * stride + 4) {
            const int32_t sum = given[i] + plain[top - (i - 4) / stride * back + (i - 4) % stride];
            want[i] = sum;
            if (width == 16 && sum != (int16_t)sum) { /* beyond all bounds: the sum is what fits, and the start follows */
                want[i] = sum < 0 ? -32768 : 32767;
                given[i] = want[i] - (sum - given[i]);
            }
        }
    }
    for (i = 0; i < n * stride + 8; i++) {
        sne_put(&got, i, given[i], width);
    }
    if (turned) {
        sne_turn(sne_at(&got, 4, width), n * stride);
    }
    sne_add_chain(sne_at(&got, 4, width), packed + top, n, &chain, width, turned);
    if (turned) {
        sne_turn(sne_at(&got, 4, width), n * stride);
    }
    for (i = 0; i < n * stride + 8; i++) {
        wrong += sne_get(&got, i, width) != want[i];
    }
    return wrong;
}

int program(void)
{
    int64_t wrong = 0, runs = 0;
    size_t stride, n;
    for (stride = 4; stride <= MOST; stride += 4) {
        for (n = 1; n <= POSITIONS; n++) {
            const size_t gap = random_word() % (GAP / 4);
            wrong += tried(stride, n, gap, 16, 0);
            wrong += tried(stride, n, gap, 32, 0);
            wrong += tried(stride, n, gap, 16, SNE_WEIGHT_OFFSET != 0); /* turned signs, where there are such kernels */
            runs += 3;
        }
    }
    print_line("runs", runs);
    print_line("wrong", wrong);
    return 0;
}
