/* The log-mel front end (sne_logmel.h); the numbered steps are those of `LogMel` in sne_edge/ir/frontend.py. */
#include "sne_logmel.h"
#include "sne_core.h"

/* q15 log2(1 + i / 32). */
static const uint16_t SNE_WORD_ALIGNED log_table[33] = {
    0,     1455,  2866,  4236,  5568,  6863,  8124,  9352,  10549, 11716, 12855, 13968, 15055, 16117, 17156, 18173, 19168,
    20143, 21098, 22034, 22952, 23852, 24736, 25604, 26455, 27292, 28114, 28922, 29717, 30498, 31267, 32024, 32768};

SNE_INLINE int32_t rounded(int32_t x, uint32_t shift)
{
    return (x + (int32_t)(((uint32_t)1 << shift) >> 1)) >> shift;
}

/* Of several of these, or-ed together, `bits_of` is the number of bits of the largest value. */
SNE_INLINE uint32_t magnitude(int32_t x)
{
    return (uint32_t)(x ^ (x >> 31));
}

SNE_INLINE uint32_t bits_of(uint32_t x)
{
#if defined(__ARM_FEATURE_CLZ) && !defined(SNE_PORTABLE)
    return x ? 32u - (uint32_t)__builtin_clz(x) : 0u;
#else
    uint32_t bits = 0, step;
    for (step = 16; step; step >>= 1) {
        if (x >> step) {
            x >>= step;
            bits += step;
        }
    }
    return bits + x;
#endif
}

/* How far values must be shifted to the right to fit. */
SNE_INLINE uint32_t excess(uint32_t largest, uint32_t bits)
{
    const uint32_t have = bits_of(largest);
    return have > bits ? have - bits : 0;
}

/* Steps 1 and 2: the windowed frame as complex numbers in bit-reversed order; returns the or of their magnitudes. */
static uint32_t load(const sne_logmel *config, const int16_t *samples, int32_t *z, int32_t *exponent)
{
    const uint32_t window = config->window;
    const int32_t preemphasis = config->preemphasis;
    uint32_t n, place = 0, all = 0, left, right;
    for (n = 1; n < window; n++) {
        all |= magnitude((int32_t)32 * samples[n] - preemphasis * samples[n - 1]);
    }
    right = excess(all, 15);
    left = right ? 0 : 15 - bits_of(all);
    *exponent = (int32_t)right - (int32_t)left - 5;
    all = 0;
    for (n = 0; n < window; n += 2) {
        uint32_t bit = window / 4;
        const int32_t even = (int32_t)32 * samples[n] - preemphasis * samples[n - (n > 0)];
        const int32_t odd = (int32_t)32 * samples[n + 1] - preemphasis * samples[n];
        const int32_t rising = n < window / 2;
        const uint16_t *hann = config->hann + (rising ? n : window - n);
        const int32_t re = rounded(rounded((int32_t)((uint32_t)even << left), right) * (int32_t)hann[0], 15);
        const int32_t im = rounded(rounded((int32_t)((uint32_t)odd << left), right) * (int32_t)hann[rising ? 1 : -1], 15);
        z[2 * place] = re;
        z[2 * place + 1] = im;
        all |= magnitude(re) | magnitude(im);
        for (; place & bit; bit >>= 1) { /* count on, from the highest bit down */
            place ^= bit;
        }
        place |= bit;
    }
    return all;
}

/* The butterflies of one twiddle factor in one stage. Products with 1 and -i are exact, so those need none. */
enum { FACTOR_ONE, FACTOR_MINUS_I, FACTOR_ANY };

SNE_INLINE uint32_t butterflies(int32_t *z, uint32_t first, uint32_t end, uint32_t span, uint32_t shift, int32_t c,
                                int32_t s, int factor)
{
    const int32_t half = (int32_t)(((uint32_t)1 << shift) >> 1);
    int32_t *a = z + 2 * first, *const stop = z + 2 * end;
    uint32_t all = 0;
    for (; a < stop; a += 4 * span) {
        int32_t *b = a + 2 * span;
        const int32_t ar = (a[0] + half) >> shift, ai = (a[1] + half) >> shift;
        const int32_t br = (b[0] + half) >> shift, bi = (b[1] + half) >> shift;
        const int32_t tr = factor == FACTOR_ONE ? br : factor == FACTOR_MINUS_I ? bi : rounded(br * c + bi * s, 15);
        const int32_t ti = factor == FACTOR_ONE ? bi : factor == FACTOR_MINUS_I ? -br : rounded(bi * c - br * s, 15);
        const int32_t cr = ar + tr, ci = ai + ti, dr = ar - tr, di = ai - ti;
        a[0] = cr;
        a[1] = ci;
        b[0] = dr;
        b[1] = di;
        all |= magnitude(cr) | magnitude(ci) | magnitude(dr) | magnitude(di);
    }
    return all;
}

/* cos(2 pi n / window), n = 0 .. window / 2. */
SNE_INLINE int32_t cosine(const sne_logmel *config, uint32_t n)
{
    const uint32_t quarter = config->window / 4u;
    return n <= quarter ? (int32_t)config->sine[quarter - n] : -(int32_t)config->sine[n - quarter];
}

SNE_INLINE int32_t sine(const sne_logmel *config, uint32_t n)
{
    const uint32_t quarter = config->window / 4u;
    return config->sine[n <= quarter ? n : 2 * quarter - n];
}

/* Step 3; returns the or of the results' magnitudes. */
static uint32_t transform(const sne_logmel *config, int32_t *z, uint32_t all, int32_t *exponent)
{
    const uint32_t points = config->window / 2u;
    uint32_t span, j, step = points;
    for (span = 1; span < points; span *= 2, step /= 2) {
        const uint32_t shift = excess(all, 15);
        *exponent += (int32_t)shift;
        all = butterflies(z, 0, points, span, shift, 0, 0, FACTOR_ONE);
        for (j = 1; j < span; j++) {
            const int32_t c = cosine(config, j * step), s = sine(config, j * step);
            all |= 2 * j == span ? butterflies(z, j, points, span, shift, c, s, FACTOR_MINUS_I)
                                 : butterflies(z, j, points, span, shift, c, s, FACTOR_ANY);
        }
    }
    return all;
}

/* Steps 4 and 5: the power of bin k. */
SNE_INLINE uint32_t power(const sne_logmel *config, const int32_t *z, uint32_t k, uint32_t shift)
{
    const uint32_t last = config->window / 2u - 1;
    const int32_t *u = z + 2 * (k & last), *v = z + 2 * ((0u - k) & last);
    const int32_t ur = rounded(u[0], shift), ui = rounded(u[1], shift), vr = rounded(v[0], shift), vi = rounded(v[1], shift);
    const int32_t dr = ur - vr, di = ui + vi, c = cosine(config, k), s = sine(config, k);
    const int32_t re = rounded(ur + vr + rounded(c * di - s * dr, 15), 1);
    const int32_t im = rounded(ui - vi - rounded(c * dr + s * di, 15), 1);
    return (uint32_t)(re * re) + (uint32_t)(im * im);
}

/* Steps 6 and 7. */
static int8_t level(const sne_logmel *config, uint64_t energy, int32_t exponent)
{
    const uint32_t high = (uint32_t)(energy >> 32);
    const int32_t position = (int32_t)(high ? 32 + bits_of(high) : bits_of((uint32_t)energy)) - 1;
    int32_t q = 512 * exponent - 2048;
    if (position < 0) {
        q -= 256;
    } else {
        const uint32_t part = (uint32_t)(position < 16 ? energy << (16 - position) : energy >> (position - 16)) & 0xFFFFu;
        const int32_t low = log_table[part >> 11], step = log_table[(part >> 11) + 1] - low;
        q += 256 * position + rounded(low + rounded(step * (int32_t)(part & 2047u), 11), 7);
    }
    q = rounded(((q < -8192 ? -8192 : q) - config->offset) * (int32_t)config->gain, 16);
    return (int8_t)(q < -127 ? -127 : q > 127 ? 127 : q);
}

void sne_logmel_frame(const sne_logmel *config, const int16_t *samples, int32_t *work, int8_t *out)
{
    const uint8_t *rise = config->rise;
    int32_t exponent;
    uint32_t k = config->edges[0], segment, shift, all = load(config, samples, work, &exponent);
    uint64_t rising = 0;
    all = transform(config, work, all, &exponent);
    shift = excess(all, 14);
    exponent += (int32_t)shift;
    for (segment = 0; segment <= config->bands; segment++) {
        /* Sums of a power's halves fit in 32 bits, as there are at most 256 bins. */
        uint32_t low = 0, high = 0, weighted_low = 0, weighted_high = 0;
        uint64_t weighted;
        for (; k < config->edges[segment + 1]; k++) {
            const uint32_t p = power(config, work, k, shift), weight = *rise++;
            low += p & 0xFFFFu;
            high += p >> 16;
            weighted_low += (p & 0xFFFFu) * weight;
            weighted_high += (p >> 16) * weight;
        }
        weighted = ((uint64_t)weighted_high << 16) + weighted_low;
        if (segment > 0) {
            *out++ = level(config, rising + ((uint64_t)high << 24) + ((uint64_t)low << 8) - weighted, exponent);
        }
        rising = weighted;
    }
}

int sne_logmel_push(const sne_logmel *config, uint32_t *held, int16_t *history, int32_t *work, const int16_t **samples,
                    size_t *n, int8_t *out)
{
    const uint32_t window = config->window, hop = config->hop;
    uint32_t i;
    while (*n > 0 && *held < window) {
        history[(*held)++] = *(*samples)++;
        --*n;
    }
    if (*held < window) {
        return 0;
    }
    sne_logmel_frame(config, history, work, out);
    for (i = hop; i < window; i++) {
        history[i - hop] = history[i];
    }
    *held = window - hop;
    return 1;
}

void sne_logmel_recording(const sne_logmel *config, uint32_t *held, int16_t *history, int32_t *work,
                          const int16_t *samples, size_t n, int8_t *out)
{
    uint32_t frame;
    for (frame = 0; frame < config->frames; frame++, out += config->bands) {
        while (!sne_logmel_push(config, held, history, work, &samples, &n, out)) {
            history[(*held)++] = 0;
        }
    }
}
