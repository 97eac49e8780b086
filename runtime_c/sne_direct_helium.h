/* A direct input's layer with Helium: an output's current is a dot product, sixteen weights an instruction. For that, weights
 * lie output by output (SNE_BY_OUTPUT): [stride][pitch], a pitch being a window's weights, filled up with zeros to whole
 * vectors. A window of several rows is copied together where that has room. */
#ifndef SNE_DIRECT_HELIUM_H
#define SNE_DIRECT_HELIUM_H

#include <arm_mve.h>

#include "sne.h"
#include "sne_fire.h"
#include "sne_list.h"

/* Arguments of dot products: `n` inputs at `x`, their weights for the first output at `weight`. */
typedef struct {
    const int8_t *x;
    const sne_weight *weight;
    size_t n, pitch, stride;
} sne_dots;

#define SNE_DOT_HELIUM(sum, row)                    \
    "vldrb.u8 %q[w], [%[" row "]], #16\n"           \
    "vmladava.s8 %[" sum "], %q[w], %q[x]\n"

/* to[j] = from[j] + the weights of output j times the inputs, for `width` bits: four outputs. */
SNE_INLINE void sne_dot_four_helium(void *to, const void *from, const sne_dots *dots, const sne_weight *row, int width)
{
    const sne_weight *r0 = row, *r1 = r0 + dots->pitch, *r2 = r1 + dots->pitch, *r3 = r2 + dots->pitch;
    const int8_t *x = dots->x;
    int32_t s0 = sne_get(from, 0, width), s1 = sne_get(from, 1, width);
    int32_t s2 = sne_get(from, 2, width), s3 = sne_get(from, 3, width);
    int8x16_t w, values;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1:\n"
                     "vldrb.u8 %q[x], [%[at]], #16\n"
                     SNE_DOT_HELIUM("s0", "r0")
                     SNE_DOT_HELIUM("s1", "r1")
                     SNE_DOT_HELIUM("s2", "r2")
                     SNE_DOT_HELIUM("s3", "r3")
                     "letp lr, 1b\n"
                     : [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3), [r0] "+r"(r0), [r1] "+r"(r1),
                       [r2] "+r"(r2), [r3] "+r"(r3), [at] "+r"(x), [w] "=&w"(w), [x] "=&w"(values)
                     : [n] "r"(dots->n)
                     : "lr", "memory");
    sne_put(to, 0, s0, width);
    sne_put(to, 1, s1, width);
    sne_put(to, 2, s2, width);
    sne_put(to, 3, s3, width);
}

#define SNE_DOT_NEXT_HELIUM(sum)                    \
    "vldrb.u8 %q[w], [%[row]], #16\n"               \
    "vmladav.s8 %[" sum "], %q[w], %q[x]\n"

/* All outputs, of up to sixteen inputs that are whole rows of weights: they stay in a register. */
SNE_INLINE void sne_dots_short_helium(void *to, const void *from, const sne_dots *dots, int width)
{
    const int8x16_t x = vldrbq_z_s8(dots->x, vctp8q((uint32_t)dots->n));
    const sne_weight *row = dots->weight;
    int32_t s0, s1, s2, s3;
    int8x16_t w;
    int32x4_t sums, before;
    __asm__ volatile("dls lr, %[fours]\n"
                     "1:\n"
                     SNE_DOT_NEXT_HELIUM("s0")
                     SNE_DOT_NEXT_HELIUM("s1")
                     SNE_DOT_NEXT_HELIUM("s2")
                     SNE_DOT_NEXT_HELIUM("s3")
                     "vmov %q[sums][2], %q[sums][0], %[s0], %[s2]\n"
                     "vmov %q[sums][3], %q[sums][1], %[s1], %[s3]\n"
                     ".if %c[wide]\n"
                     "vldrw.u32 %q[before], [%[from]], #16\n"
                     "vadd.i32 %q[sums], %q[sums], %q[before]\n"
                     "vstrw.32 %q[sums], [%[to]], #16\n"
                     ".else\n"
                     "vldrh.s32 %q[before], [%[from]], #8\n"
                     "vadd.i32 %q[sums], %q[sums], %q[before]\n"
                     "vstrh.32 %q[sums], [%[to]], #8\n"
                     ".endif\n"
                     "le lr, 1b\n"
                     : [s0] "=&Te"(s0), [s1] "=&Te"(s1), [s2] "=&Te"(s2), [s3] "=&Te"(s3), [row] "+r"(row),
                       [from] "+r"(from), [to] "+r"(to), [w] "=&w"(w), [sums] "=&w"(sums), [before] "=&w"(before)
                     : [x] "w"(x), [fours] "r"(dots->stride / 4u), [wide] "i"(width == 32)
                     : "lr", "memory");
}

/* to[j] = from[j] + the weights of output j times the inputs, for all outputs. Returns how many inputs are not 0. */
SNE_INLINE uint32_t sne_dots_helium(void *to, const void *from, const sne_dots *dots, int width)
{
    const uint8x16_t ones = vdupq_n_u8(1);
    const int8_t *x = dots->x;
    uint32_t total = 0;
    int8x16_t values;
    if (dots->pitch == 16u) {
        sne_dots_short_helium(to, from, dots, width);
    } else {
        size_t j;
        for (j = 0; j < dots->stride; j += 4) {
            sne_dot_four_helium(sne_at(to, j, width), (const uint8_t *)from + j * (size_t)width / 8u, dots,
                                dots->weight + j * dots->pitch, width);
        }
    }
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1:\n"
                     "vldrb.u8 %q[x], [%[at]], #16\n"
                     "vpt.i8 ne, %q[x], zr\n"
                     "vaddvat.u8 %[total], %q[ones]\n"
                     "letp lr, 1b\n"
                     : [total] "+Te"(total), [at] "+r"(x), [x] "=&w"(values)
                     : [n] "r"(dots->n), [ones] "w"(ones)
                     : "lr", "memory");
    return total;
}

SNE_INLINE void sne_copy_helium(int8_t *to, const int8_t *from, size_t n)
{
    int8x16_t values;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1:\n"
                     "vldrb.u8 %q[x], [%[from]], #16\n"
                     "vstrb.8 %q[x], [%[to]], #16\n"
                     "letp lr, 1b\n"
                     : [to] "+r"(to), [from] "+r"(from), [x] "=&w"(values)
                     : [n] "r"(n)
                     : "lr", "memory");
}

/* What all positions of a layer share, in bytes: an input row, a kernel row, the window; is it copied? */
typedef struct {
    size_t row, run, window, pitch;
    int room;
} sne_panes;

/* The current of the position whose window begins at column `left` of the rows `low` .. `high` - 1 of a kernel, the first of
 * them at `x`: its bias and what the inputs bring. Returns how many of these are not 0. */
SNE_INLINE uint32_t sne_current_helium(const sne_synapses *p, const sne_neurons *q, const sne_panes *panes,
                                       const int8_t *x, uint32_t low, uint32_t high, int32_t left, void *current,
                                       int8_t *copy, int width)
{
    const void *from = q->bias;
    const size_t channels = p->in_channels;
    sne_dots dots;
    uint32_t first = 0, last = p->kernel_width, total = 0;
    dots.weight = p->weight;
    dots.pitch = panes->pitch;
    dots.stride = q->stride;
    dots.n = panes->window;
    if (left < 0 || left + (int32_t)last > (int32_t)p->in_width) {
        sne_clip(left, p->kernel_width, p->in_width, &first, &last);
    }
    x += (left + (int32_t)first) * (int32_t)channels;
    dots.x = x;
    if (p->kernel_height > 1 || last - first < p->kernel_width) {
        const size_t run = (last - first) * channels, before = first * channels;
        if (!panes->room) { /* row by row */
            for (; low < high; low++, dots.x += panes->row, from = current) {
                dots.n = run;
                dots.weight = p->weight + low * panes->run + before;
                total += sne_dots_helium(current, from, &dots, width);
            }
            return total;
        }
        if (high - low < p->kernel_height || run < panes->run) {
            sne_clear((uint32_t *)(void *)copy, (panes->window + 3u) >> 2);
        }
        for (dots.x = copy; low < high; low++, x += panes->row) {
            sne_copy_helium(copy + low * panes->run + before, x, run);
        }
    }
    return sne_dots_helium(current, from, &dots, width);
}

/* The layer through all timesteps, as sne_layer; its membranes are always fresh. */
SNE_INLINE uint32_t sne_direct_helium(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost,
                                      sne_fire_function fire, int width, int decay, int32_t factor, int reset, int clamp)
{
    const int readout = fire == NULL;
    const size_t out_words = readout ? 0u : sne_words((size_t)p->out_height * p->out_width * q->channels);
    sne_panes panes;
    void *v = job->membranes;
    uint32_t values = 0, fired = 0, low, high, t, x, y;
    size_t first = 0;
    panes.row = (size_t)p->in_width * p->in_channels;
    panes.run = (size_t)p->kernel_width * p->in_channels;
    panes.window = p->kernel_height * panes.run;
    panes.pitch = (panes.window + 15u) & ~(size_t)15;
    panes.room = panes.window <= 4u * (size_t)p->capacity;
    sne_clear(job->out, job->timesteps * out_words);
    for (y = 0; y < p->out_height; y++) {
        const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
        int32_t left = -(int32_t)p->padding_width;
        const int8_t *in;
        sne_clip(top, p->kernel_height, p->in_height, &low, &high);
        in = job->x + (top + (int32_t)low) * (int32_t)panes.row;
        for (x = 0; x < p->out_width; x++, left += p->stride_width) {
            values += sne_current_helium(p, q, &panes, in, low, high, left, job->current, (int8_t *)job->rows, width);
            if (!readout && sne_fire_steps_can(q, clamp)) {
                fired += (uint32_t)sne_fire_steps_helium(q, v, job->current, job->out, out_words, job->timesteps, first,
                                                         width, decay, factor, reset);
            } else {
                uint32_t *out = job->out;
                if (readout) {
                    sne_rest(v, q->stride, width);
                } else {
                    sne_charge_fresh(v, job->current, q->stride, width, 0);
                }
                for (t = 0; t < job->timesteps; t++, out += out_words) {
                    if (!readout) {
                        fired += (uint32_t)fire(q, v, job->current, 1, out, first);
                        continue;
                    }
                    sne_leak(q, v, job->current, width, decay, factor);
                    if (clamp) {
                        sne_clamp(q, v, width);
                    }
                }
            }
            first += q->channels;
            if (job->spread) {
                v = sne_at(v, q->stride, width);
            }
        }
    }
    cost->macs += values * (uint32_t)q->channels;
    return fired;
}

#endif
