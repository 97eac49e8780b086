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
                       [from] "+l"(from), [to] "+l"(to), [w] "=&w"(w), [sums] "=&w"(sums), [before] "=&w"(before)
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

/* A layer's windows, one after the other; all but what is said, in bytes. */
typedef struct {
    const sne_synapses *p;
    const sne_neurons *q;
    const int8_t *in;             /* the first row that is within the input */
    int8_t *copy;                 /* of a window's inputs, together */
    uint32_t low, high;           /* such rows of the kernel */
    uint32_t row, run, window;    /* of the input, of the kernel, of all its rows */
    uint32_t copied, values;      /* are windows copied? inputs that are not 0, of all windows */
    sne_dots dots;
} sne_panes;

SNE_INLINE void sne_panes_begin(sne_panes *s, const sne_synapses *p, const sne_neurons *q, const sne_job *job)
{
    s->p = p;
    s->q = q;
    s->copy = (int8_t *)job->rows;
    s->row = (uint32_t)p->in_width * p->in_channels;
    s->run = (uint32_t)p->kernel_width * p->in_channels;
    s->window = p->kernel_height * s->run;
    s->copied = s->window <= 4u * (uint32_t)p->capacity;
    s->values = 0;
    s->dots.pitch = (s->window + 15u) & ~15u;
    s->dots.stride = q->stride;
}

/* The next row of positions, in the input at `x`. */
SNE_INLINE void sne_panes_row(sne_panes *s, uint32_t y, const int8_t *x)
{
    const int32_t top = (int32_t)(y * s->p->stride_height) - (int32_t)s->p->padding_height;
    sne_clip(top, s->p->kernel_height, s->p->in_height, &s->low, &s->high);
    s->in = x + (uint32_t)(top + (int32_t)s->low) * s->row;
}

/* The current of the row's position `x`: its biases, and what the inputs bring. */
SNE_INLINE void sne_panes_current(sne_panes *s, uint32_t x, void *current, int width)
{
    const sne_synapses *const p = s->p;
    const int32_t left = (int32_t)(x * p->stride_width) - (int32_t)p->padding_width;
    const uint32_t rows = s->high - s->low;
    const void *from = s->q->bias;
    const int8_t *in = s->in + left * (int32_t)p->in_channels;
    uint32_t before = 0, run = s->run, i;
    s->dots.weight = p->weight;
    s->dots.n = s->window;
    s->dots.x = in;
    if (left < 0 || left + (int32_t)p->kernel_width > (int32_t)p->in_width) {
        uint32_t first, last;
        sne_clip(left, p->kernel_width, p->in_width, &first, &last);
        before = first * p->in_channels;
        run = (last - first) * p->in_channels;
        in += before;
    }
    if (rows * run < s->window || p->kernel_height > 1) {
        if (!s->copied) {
            s->dots.n = run;
            s->dots.weight += s->low * s->run + before;
            for (i = 0; i < rows; i++, in += s->row, s->dots.weight += s->run, from = current) {
                s->dots.x = in;
                s->values += sne_dots_helium(current, from, &s->dots, width);
            }
            return;
        }
        if (rows * run < s->window) {
            sne_clear((uint32_t *)(void *)s->copy, (s->window + 3u) >> 2);
        }
        for (i = s->low; i < s->high; i++, in += s->row) {
            sne_copy_helium(s->copy + i * s->run + before, in, run);
        }
        s->dots.x = s->copy;
    }
    s->values += sne_dots_helium(current, from, &s->dots, width);
}

SNE_OUTLINE void sne_panes_current_16(sne_panes *s, uint32_t x, void *current)
{
    sne_panes_current(s, x, current, 16);
}

SNE_OUTLINE void sne_panes_current_32(sne_panes *s, uint32_t x, void *current)
{
    sne_panes_current(s, x, current, 32);
}

/* sne_shift_current for 16 bits. */
SNE_INLINE void sne_shift_helium(int16_t *current, const int32_t *sums, size_t stride, uint32_t shift)
{
    size_t c;
    for (c = 0; c < stride; c += 4) {
        vstrhq_s32(current + c, vshlq_r_s32(vldrwq_s32(sums + c), -(int32_t)shift));
    }
}

/* The layer through all timesteps, as sne_layer; its membranes are always fresh. `shift`: 0 where currents are not shifted. */
SNE_INLINE uint32_t sne_direct_helium(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost,
                                      sne_fire_function fire, uint32_t shift, int width, int decay, int32_t factor,
                                      int reset, int clamp)
{
    const int readout = fire == NULL;
    const size_t out_words = readout ? 0u : sne_words((size_t)p->out_height * p->out_width * q->channels);
    const size_t stride = q->stride;
    void *const current = job->current, *const sums = shift ? sne_at(job->current, stride, width) : current;
    void *v = job->membranes;
    uint32_t fired = 0, t, x, y;
    size_t first = 0;
    sne_panes s;
    sne_panes_begin(&s, p, q, job);
    sne_clear(job->out, job->timesteps * out_words);
    for (y = 0; y < p->out_height; y++) {
        sne_panes_row(&s, y, job->x);
        for (x = 0; x < p->out_width; x++, first += q->channels) {
            if (width == 16 && !shift) {
                sne_panes_current_16(&s, x, sums);
            } else {
                sne_panes_current_32(&s, x, sums);
            }
            if (shift && width == 16) {
                sne_shift_helium((int16_t *)current, (const int32_t *)sums, stride, shift);
            } else if (shift) {
                sne_shift_current(current, (const int32_t *)sums, stride, shift, width);
            }
            if (!readout && sne_fire_steps_can(q, clamp)) {
                fired += (uint32_t)sne_fire_steps_helium(q, v, current, job->out, out_words, job->timesteps, first, width,
                                                         decay, factor, reset);
            } else {
                uint32_t *out = job->out;
                if (readout) {
                    sne_rest(v, stride, width);
                } else {
                    sne_charge_fresh(v, current, stride, width, 0);
                }
                for (t = 0; t < job->timesteps; t++, out += out_words) {
                    if (!readout) {
                        fired += (uint32_t)fire(q, v, current, 1, out, first);
                        continue;
                    }
                    sne_leak(q, v, current, width, decay, factor);
                    if (clamp) {
                        sne_clamp(q, v, width);
                    }
                }
            }
            if (job->spread) {
                v = sne_at(v, stride, width);
            }
        }
    }
    cost->macs += s.values * (uint32_t)q->channels;
    return fired;
}

#endif
