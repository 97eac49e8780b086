/* Listing what one position sees on an emulated core: its kernel against the equation, for runs of every length and place. */
#include "bare_metal.h"
#include "sne_kernels.h"

enum { WORDS = 40, MOST = 32 * WORDS };

static uint32_t bits[WORDS], rows[MOST + 2], want[MOST];

static uint32_t below(uint32_t limit)
{
    return random_word() % limit;
}

/* Number of wrong entries, of entries beyond the list's end that were written, and of a wrong end. */
static int64_t tried(uint32_t runs, uint32_t count, uint32_t density)
{
    const uint32_t pitch = 4u + 4u * below(40);
    int64_t wrong = 0;
    sne_view view = {0};
    uint32_t *end, run, i, n = 0;
    for (i = 0; i < MOST; i++) {
        const uint32_t bit = (uint32_t)1 << (i & 31u);
        bits[i >> 5] = below(100) < density ? bits[i >> 5] | bit : bits[i >> 5] & ~bit;
    }
    view.runs = runs;
    view.left = view.count = count;
    view.from = below(MOST - runs * count + 1u);
    view.from_step = count + below((MOST - view.from - count * runs) / runs + 1u);
    view.row = pitch * below(9);
    view.row_step = pitch * (count + below(9));
    for (run = 0; run < runs; run++) {
        for (i = 0; i < count; i++) {
            const uint32_t place = view.from + run * view.from_step + i;
            if (bits[place >> 5] >> (place & 31u) & 1u) {
                want[n++] = view.row + run * view.row_step + i * pitch;
            }
        }
    }
    rows[n] = rows[n + 1u] = 77;
    end = SNE_LIST_ALL(&view, bits, pitch, rows);
    wrong += end != rows + n;
    for (i = 0; i < n; i++) {
        wrong += rows[i] != want[i];
    }
    return wrong + (rows[n] != 77) + (rows[n + 1u] != 77);
}

int program(void)
{
    static const uint32_t densities[4] = {0, 3, 30, 100};
    int64_t wrong = 0, lists = 0;
    uint32_t count, i;
    for (count = 1; count <= 140u; count += count < 70u ? 1u : 7u) {
        for (i = 0; i < 12u; i++) {
            wrong += tried(1u + i % 5u, count, densities[i & 3u]);
            lists++;
        }
    }
    print_line("runs", lists);
    print_line("wrong", wrong);
    return 0;
}
