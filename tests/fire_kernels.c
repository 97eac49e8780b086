/* Every kind of neuron's firing pass on an emulated core against the portable one: random layers, membranes, thresholds
 * and places of the spikes, extremes often. Prints a line for each kind: its name and how many cases differed. */
#include "bare_metal.h"
#include "sne_fire.h"

#ifndef CASES
#define CASES 80 /* of each kind */
#endif

enum { MOST = 76, POSITIONS = 3, NEURONS = MOST * POSITIONS, GUARD = 0x5a5a5a5a };

/* One layer of int16 or int32 neurons, with words around it that nobody may touch. */
typedef struct {
    uint32_t before;
    int32_t v[NEURONS];
    uint32_t bits[(64 + NEURONS) / 32 + 2];
    uint32_t after;
} state;

typedef size_t fire_function(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits, size_t first);

static int32_t threshold[MOST], drive[MOST];
static state given, got, want;

static uint32_t below(uint32_t n)
{
    return (random_word() >> 8) % n;
}

/* Within low .. high, the ends and small numbers often. */
static int32_t random_between(int32_t low, int32_t high)
{
    const uint32_t range = (uint32_t)high - (uint32_t)low, choice = below(8);
    int32_t small = (int32_t)below(5) - 2;
    if (choice == 0) {
        return low;
    }
    if (choice == 1) {
        return high;
    }
    if (choice == 2 && small >= low && small <= high) {
        return small;
    }
    return (int32_t)((uint32_t)low + (range == 0xffffffffu ? random_word() : random_word() % (range + 1u)));
}

/* Fill in a case; returns the neurons' parameters. No final membrane is beyond its width, as proven bounds promise. */
static sne_neurons random_case(fire_function portable, int width, size_t positions, size_t first)
{
    const int32_t low = width == 16 ? INT16_MIN : INT32_MIN / 2, high = width == 16 ? INT16_MAX : INT32_MAX / 2;
    const uint32_t channels = 1 + below(MOST), stride = (channels + 3u) & ~3u;
    sne_neurons p = {threshold, drive, 0, 0, 0, 0, 0, 0};
    size_t c, i;
    p.clamp_low = random_between(low, 0);
    p.clamp_high = random_between(0, high);
    p.channels = (uint16_t)channels;
    p.stride = (uint16_t)stride;
    p.decay = (uint16_t)random_between(0, 32767);
    p.width = (uint16_t)width;
    given.before = given.after = GUARD;
    for (i = 0; i < NEURONS; i++) {
        given.v[i] = GUARD;
    }
    for (i = 0; i < sizeof given.bits / 4u; i++) {
        given.bits[i] = i < (first + 31u) / 32u ? random_word() : GUARD;
    }
    for (i = first; i < ((first + positions * channels + 31u) & ~(size_t)31u); i++) {
        given.bits[i >> 5] &= ~((uint32_t)1 << (i & 31u));
    }
    for (c = 0; c < stride; c++) {
        const int32_t rare = below(4) ? high : random_between(1, high);
        sne_put(threshold, c, c < channels ? (below(2) ? rare : random_between(1, 40)) : width == 16 ? INT16_MAX : INT32_MAX, width);
        sne_put(drive, c, 0, width);
        for (i = 0; i < positions; i++) {
            const int32_t v = below(4) ? random_between(low, high) : sne_get(threshold, c, width) - 1 + (int32_t)below(3);
            sne_put(given.v, i * stride + c, c < channels ? (v > high ? high : v) : 0, width);
        }
    }
    want = given;
    (void)portable(&p, want.v, drive, positions, want.bits, first);
    for (c = 0; c < channels; c++) { /* without a current: what is left for one */
        int32_t least = 0, most = 0;
        for (i = 0; i < positions; i++) {
            const int32_t v = sne_get(want.v, i * stride + c, width);
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
        sne_put(drive, c, random_between(least < low ? 0 : low - least, most > high ? 0 : high - most), width);
    }
    return p;
}

static int differs(void)
{
    const uint32_t *a = (const uint32_t *)&got, *b = (const uint32_t *)&want;
    size_t i;
    for (i = 0; i < sizeof got / 4u; i++) {
        if (a[i] != b[i]) {
            return 1;
        }
    }
    return 0;
}

static int test(const char *name, fire_function fire, fire_function portable, int width)
{
    int wrong = 0, i;
    for (i = 0; i < CASES; i++) {
        const size_t positions = 1 + below(POSITIONS), first = below(2) ? 8u * below(8) : below(64);
        const sne_neurons p = random_case(portable, width, positions, first);
        size_t n;
        want = got = given;
        n = portable(&p, want.v, drive, positions, want.bits, first);
        wrong += fire(&p, got.v, drive, positions, got.bits, first) != n || differs();
    }
    print_line(name, wrong);
    return wrong;
}

#define KIND(width, leak, shift, reset, clamp)                                                                          \
    static size_t fire_##width##leak##shift##reset##clamp(const sne_neurons *p, void *v, const void *add,               \
                                                           size_t positions, uint32_t *bits, size_t first)               \
    {                                                                                                                    \
        return sne_fire(p, v, add, positions, bits, first, width, SNE_DECAY_##leak, shift ? shift : p->decay,           \
                        SNE_RESET_##reset, clamp, 0);                                                                    \
    }                                                                                                                    \
    static size_t portable_##width##leak##shift##reset##clamp(const sne_neurons *p, void *v, const void *add,           \
                                                               size_t positions, uint32_t *bits, size_t first)           \
    {                                                                                                                    \
        return sne_fire_portable(p, v, add, positions, bits, first, width, SNE_DECAY_##leak, shift ? shift : p->decay,  \
                                 SNE_RESET_##reset, clamp);                                                              \
    }
#define RUN(width, leak, shift, reset, clamp)                                           \
    wrong += test(#width "_" #leak #shift "_" #reset "_" #clamp,                         \
                  fire_##width##leak##shift##reset##clamp, portable_##width##leak##shift##reset##clamp, width);
#define DECAYS(what, width, reset, clamp)                                                                                \
    what(width, NONE, 0, reset, clamp) what(width, SHIFT, 1, reset, clamp) what(width, SHIFT, 2, reset, clamp)           \
    what(width, SHIFT, 3, reset, clamp) what(width, SHIFT, 4, reset, clamp) what(width, SHIFT, 5, reset, clamp)          \
    what(width, SHIFT, 8, reset, clamp) what(width, SHIFT, 15, reset, clamp) what(width, Q15, 0, reset, clamp)
#define KINDS(what)                                                                                                      \
    DECAYS(what, 16, SUBTRACT, 0) DECAYS(what, 16, ZERO, 0) DECAYS(what, 16, DELAYED, 0) DECAYS(what, 16, SUBTRACT, 1)   \
    what(16, SHIFT, 2, ZERO, 1) what(16, Q15, 0, DELAYED, 1) DECAYS(what, 32, SUBTRACT, 0)                               \
    what(32, SHIFT, 1, ZERO, 0) what(32, SHIFT, 31, ZERO, 0) what(32, Q15, 0, ZERO, 1) what(32, NONE, 0, DELAYED, 0)     \
    what(32, SHIFT, 2, DELAYED, 1) what(32, Q15, 0, DELAYED, 1) what(32, SHIFT, 15, ZERO, 0) what(32, NONE, 0, ZERO, 0)

KINDS(KIND)

/* With turned signs, on a core that has such a pass; on another its own. */
#define TURNED(leak, shift, reset)                                                                                       \
    static size_t turned_##leak##shift##reset(const sne_neurons *p, void *v, const void *add, size_t positions,          \
                                              uint32_t *bits, size_t first)                                              \
    {                                                                                                                    \
        const int turned = sne_fire_turns(16, SNE_DECAY_##leak, shift, SNE_RESET_##reset, 0);                            \
        uint32_t drive_of_turned[MOST / 2];                                                                              \
        size_t n;                                                                                                        \
        if (turned) {                                                                                                    \
            sne_turn(v, positions * p->stride);                                                                          \
        }                                                                                                                \
        if (turned && SNE_TURNED_DRIVE) {                                                                                \
            sne_turned_drive(drive_of_turned, add, p->stride, SNE_DECAY_##leak, shift);                                  \
            add = drive_of_turned;                                                                                       \
        }                                                                                                                \
        n = sne_fire(p, v, add, positions, bits, first, 16, SNE_DECAY_##leak, shift, SNE_RESET_##reset, 0, turned);      \
        if (turned) {                                                                                                    \
            sne_turn(v, positions * p->stride);                                                                          \
        }                                                                                                                \
        return n;                                                                                                        \
    }
#define RUN_TURNED(leak, shift, reset)                                                                    \
    wrong += test("turned_" #leak #shift "_" #reset, turned_##leak##shift##reset, portable_16##leak##shift##reset##0, 16);
#define TURNED_KINDS(what)                                                                                               \
    what(NONE, 0, SUBTRACT) what(SHIFT, 1, SUBTRACT) what(SHIFT, 2, SUBTRACT) what(SHIFT, 5, SUBTRACT)                   \
    what(NONE, 0, ZERO) what(SHIFT, 1, ZERO) what(SHIFT, 3, ZERO) what(SHIFT, 8, ZERO)

TURNED_KINDS(TURNED)

/* A last timestep, on a core that has a pass for it: the same bits and number, and membranes as they were. */
static int test_last(const char *name, int turned)
{
    int wrong = 0, i;
    for (i = 0; i < 4 * CASES; i++) {
        const size_t positions = 1 + below(POSITIONS), first = below(2) ? 8u * below(8) : below(64);
        const sne_neurons p = random_case(portable_16NONE0SUBTRACT0, 16, positions, first);
        size_t n, k;
        want = got = given;
        n = portable_16NONE0SUBTRACT0(&p, want.v, drive, positions, want.bits, first);
        for (k = 0; k < NEURONS; k++) {
            want.v[k] = given.v[k];
        }
        if (sne_fire_has_last(16)) {
            if (turned) {
                sne_turn(got.v, positions * p.stride);
            }
            wrong += sne_fire_last(&p, got.v, positions, got.bits, first, turned) != n;
            if (turned) {
                sne_turn(got.v, positions * p.stride);
            }
            wrong += differs();
        }
    }
    print_line(name, wrong);
    return wrong;
}

/* The currents that shifted sums are, the widths' edges often; what lies behind them stays as it is. */
static int test_shift(const char *name, int width)
{
    static int32_t sums[MOST];
    int wrong = 0;
    uint32_t shift, stride, j;
    for (stride = 4; stride <= MOST; stride += 4) {
        for (shift = 1; shift < (width == 16 ? 17u : 32u); shift++) {
            const int32_t most = (int32_t)((width == 16 ? 0x8000u : 0x80000000u >> shift) - 1u); /* that fits */
            for (j = 0; j < NEURONS; j++) {
                want.v[j] = got.v[j] = GUARD;
            }
            for (j = 0; j < stride; j++) {
                const int32_t current = random_between(-most - 1, most);
                sums[j] = (int32_t)((uint32_t)current << shift | (random_word() & ((1u << shift) - 1u)));
                sne_put(want.v, j, current, width);
            }
            sne_shift_current(got.v, sums, stride, shift, width);
            for (j = 0; j < NEURONS; j++) {
                wrong += got.v[j] != want.v[j];
            }
        }
    }
    print_line(name, wrong);
    return wrong;
}

/* All timesteps at once from rest, on a core that has a pass for it; on another one by one. */
enum { STEPS = 5, WORDS = 4, SLACK = 2 };
static uint32_t got_bits[STEPS * WORDS + SLACK], want_bits[STEPS * WORDS + SLACK];
#define STEPPED(leak, shift, reset)                                                                                      \
    static int stepped_##leak##shift##reset(void)                                                                        \
    {                                                                                                                    \
        int wrong = 0, i;                                                                                                \
        for (i = 0; i < 2 * CASES; i++) {                                                                                \
            const uint32_t timesteps = 1 + below(STEPS);                                                                 \
            const int32_t most = (int32_t)(32768u / timesteps);                                                          \
            const uint32_t channels = 8u * (1 + below(MOST / 8u)), first = 8u * below(WORDS * 4u - channels / 8u + 1u);  \
            sne_neurons p = {threshold, drive, 0, 0, 0, 0, 0, 16};                                                       \
            uint32_t t, c, n = 0;                                                                                        \
            p.channels = p.stride = (uint16_t)channels;                                                                  \
            p.decay = (uint16_t)random_between(0, 32767);                                                                \
            for (c = 0; c < channels; c++) {                                                                             \
                const int32_t rare = random_between(1, 32767);                                                           \
                sne_put(threshold, c, below(2) ? rare : below(2) ? random_between(1, 40) : most / 2, 16);                \
                sne_put(drive, c, random_between(-most, most - 1), 16);                                                  \
                sne_put(want.v, c, sne_get(drive, c, 16), 16);                                                           \
            }                                                                                                            \
            for (c = 0; c < STEPS * WORDS + SLACK; c++) {                                                                \
                got_bits[c] = want_bits[c] = c < timesteps * WORDS ? 0 : GUARD;                                          \
            }                                                                                                            \
            for (t = 0; t < timesteps; t++) {                                                                            \
                n += (uint32_t)portable_16##leak##shift##reset##0(&p, want.v, drive, 1, want_bits + t * WORDS, first);   \
            }                                                                                                            \
            if (sne_fire_has_steps(16, SNE_DECAY_##leak, SNE_RESET_##reset, 0)) {                                        \
                sne_fire_steps(&p, drive, timesteps, got_bits, WORDS, first, SNE_DECAY_##leak, shift ? shift : p.decay,  \
                               SNE_RESET_##reset);                                                                       \
                wrong += sne_count_bits(got_bits, timesteps * WORDS) != n;                                               \
                for (c = 0; c < STEPS * WORDS + SLACK; c++) {                                                            \
                    wrong += got_bits[c] != want_bits[c];                                                                \
                }                                                                                                        \
            }                                                                                                            \
            fired += n;                                                                                                  \
        }                                                                                                                \
        print_line("steps_" #leak #shift "_" #reset, wrong);                                                             \
        return wrong;                                                                                                    \
    }
#define RUN_STEPPED(leak, shift, reset) wrong += stepped_##leak##shift##reset();
#define STEPPED_KINDS(what)                                                                                              \
    what(NONE, 0, SUBTRACT) what(SHIFT, 1, SUBTRACT) what(SHIFT, 3, SUBTRACT) what(SHIFT, 5, SUBTRACT)                   \
    what(Q15, 0, SUBTRACT) what(NONE, 0, ZERO) what(SHIFT, 1, ZERO) what(SHIFT, 2, ZERO) what(SHIFT, 8, ZERO)            \
    what(Q15, 0, ZERO)

static uint32_t fired;
STEPPED_KINDS(STEPPED)

int program(void)
{
    int wrong = 0;
    KINDS(RUN)
    TURNED_KINDS(RUN_TURNED)
    wrong += test_last("last", 0);
#if !defined(SNE_DSP)
    wrong += test_last("last_turned", 1);
#else
    print_line("last_turned", 0);
#endif
    STEPPED_KINDS(RUN_STEPPED)
    wrong += test_shift("shift_16", 16) + test_shift("shift_32", 32);
    wrong += fired < 1000; /* spikes of these */
    print_line("wrong", wrong);
    return 0;
}
