/* Gathering with Helium: a position's currents of all timesteps first, then its neurons, whose membranes stay in registers. No
 * list is made. As much as its neighbours in time tell apart is added: rows of spikes that the timestep before had too are in
 * its sum already, those of spikes that are gone are taken off. For int16 membranes and int8 weights, whole vectors of them. */
#ifndef SNE_WINDOW_HELIUM_H
#define SNE_WINDOW_HELIUM_H

#include "sne.h"
#include "sne_fire.h"
#include "sne_list.h"

/* A word of a map of which a position sees the bits in `mask`: its offset in bytes, and the row after its last bit's. */
typedef struct {
    uint32_t offset, mask;
    const sne_weight *end;
} sne_glimpse;

/* What the sums of one position are made of, and where they go: of `timesteps` timesteps, one at least, each `map` bytes after
 * the last and its sums `step` bytes. `total` counts spikes, `added` rows added. `same`: what the timestep before had is not
 * added again. Assembler knows the places. */
typedef struct {
    const uint32_t *in;
    uint32_t pitch;
    const sne_glimpse *glimpses;
    uint32_t n_glimpses, map;
    int16_t *sums;
    uint32_t step, timesteps, same, total, added;
} sne_sums;

/* Add or take off (`op`) the rows of the bits of `word`, a row before r7 that of its highest one, and count them in `n`. */
#define SNE_ROWS_HELIUM(word, op, n, vectors)                         \
    "clz r11, " word "\n"                                             \
    "add r11, #1\n"                                                   \
    "lsls " word ", " word ", r11\n"                                  \
    "mls r7, r11, r4, r7\n"                                           \
    "add " n ", #1\n"                                                 \
    ".irp i, 0, 1, 2, 3, 4\n"                                         \
    ".if \\i < " vectors "\n"                                         \
    "vldrb.s16 q5, [r7, #8 * \\i]\n"                                  \
    op ".i16 q\\i, q\\i, q5\n"                                        \
    ".endif\n"                                                        \
    ".endr\n"

/* The sums of 8 * `vectors` outputs, from row to row `a->pitch` bytes.
 *
 * Reads   r0 a; its glimpses, maps and rows
 * Writes  sums; a->total and a->added grow
 * Uses    r1 in, r2 the map before, r3 glimpses, r4 pitch, r5 bits that are gone, r6 new ones, r7 their rows, r8 the same, r9
 *         new ones' number, r10 gone ones', r11 a place, r12 sums; q0 to q4 sums, q5 a row. On the stack: timesteps left */
#define SNE_SUMS_HELIUM(vectors)                                                                        \
    SNE_NAKED void sne_sums_##vectors##_helium(SNE_REGISTER sne_sums *a)                                \
    {                                                                                                   \
        __asm__ volatile("push {r4-r11, lr}\n"                                                          \
                         "vpush {d8-d11}\n"                                                             \
                         "ldrd r1, r4, [r0]\n"                                                          \
                         "ldrd r12, r5, [r0, #20]\n"                                                    \
                         "ldr r5, [r0, #28]\n"                                                          \
                         "push {r5, r6}\n"                                                              \
                         "1:\n" /* everything anew */                                                   \
                         "movs r9, #0\n"                                                                \
                         "mov r10, r9\n"                                                                \
                         ".irp i, 0, 1, 2, 3, 4\n"                                                      \
                         ".if \\i < " #vectors "\n"                                                     \
                         "vmov.i32 q\\i, #0\n"                                                          \
                         ".endif\n"                                                                     \
                         ".endr\n"                                                                      \
                         "ldrd r3, r5, [r0, #8]\n"                                                      \
                         "dls lr, r5\n"                                                                 \
                         "2:\n"                                                                         \
                         "ldm r3!, {r5, r6, r7}\n"                                                      \
                         "ldr r8, [r1, r5]\n"                                                           \
                         "ands r6, r8\n"                                                                \
                         "beq 4f\n"                                                                     \
                         "3:\n"                                                                         \
                         SNE_ROWS_HELIUM("r6", "vadd", "r9", #vectors)                                  \
                         "bne 3b\n"                                                                     \
                         "4:\n"                                                                         \
                         "le lr, 2b\n"                                                                  \
                         "5:\n"                                                                         \
                         ".irp i, 0, 1, 2, 3, 4\n"                                                      \
                         ".if \\i < " #vectors "\n"                                                     \
                         "vstrh.16 q\\i, [r12, #16 * \\i]\n"                                            \
                         ".endif\n"                                                                     \
                         ".endr\n"                                                                      \
                         "mov r2, r1\n"                                                                 \
                         "ldr r5, [r0, #16]\n"                                                          \
                         "ldr r6, [r0, #24]\n"                                                          \
                         "ldrd r7, r8, [r0, #32]\n"                                                     \
                         "add r1, r5\n"                                                                 \
                         "add r12, r6\n"                                                                \
                         "add r8, r9\n"                                                                 \
                         "sub r8, r10\n"                                                                \
                         "str r8, [r0, #36]\n"                                                          \
                         "ldr r5, [sp]\n"                                                               \
                         "subs r5, #1\n"                                                                \
                         "str r5, [sp]\n"                                                               \
                         "beq 9f\n"                                                                     \
                         "cmp r7, #0\n"                                                                 \
                         "beq 1b\n"                                                                     \
                         "ldrd r3, r5, [r0, #8]\n"                                                      \
                         "dls lr, r5\n"                                                                 \
                         "6:\n" /* what differs */                                                      \
                         "ldm r3!, {r5, r6, r7}\n"                                                      \
                         "ldr r8, [r1, r5]\n"                                                           \
                         "ldr r5, [r2, r5]\n"                                                           \
                         "and r8, r6\n"                                                                 \
                         "and r5, r6\n"                                                                 \
                         "bics r6, r8, r5\n"                                                            \
                         "bic r5, r5, r8\n"                                                             \
                         "mov r8, r7\n"                                                                 \
                         "beq 8f\n"                                                                     \
                         "7:\n"                                                                         \
                         SNE_ROWS_HELIUM("r6", "vadd", "r9", #vectors)                                  \
                         "bne 7b\n"                                                                     \
                         "8:\n"                                                                         \
                         "cbz r5, 11f\n"                                                                \
                         "mov r7, r8\n"                                                                 \
                         "10:\n"                                                                        \
                         SNE_ROWS_HELIUM("r5", "vsub", "r10", #vectors)                                 \
                         "bne 10b\n"                                                                    \
                         "11:\n"                                                                        \
                         "le lr, 6b\n"                                                                  \
                         "b 5b\n"                                                                       \
                         "9:\n"                                                                         \
                         "ldr r5, [r0, #40]\n"                                                          \
                         "add r5, r9\n"                                                                 \
                         "add r5, r10\n"                                                                \
                         "str r5, [r0, #40]\n"                                                          \
                         "pop {r5, r6}\n"                                                               \
                         "vpop {d8-d11}\n"                                                              \
                         "pop {r4-r11, pc}\n");                                                         \
    }

SNE_SUMS_HELIUM(1)
SNE_SUMS_HELIUM(2)
SNE_SUMS_HELIUM(3)
SNE_SUMS_HELIUM(4)
SNE_SUMS_HELIUM(5)

/* A layer's positions, one after the other. Those of a row that see whole windows from the same bit of a word on have the same
 * glimpses, from another word on. */
typedef struct {
    sne_sums sums;
    sne_glimpse *glimpses;     /* with room for sums behind them */
    const sne_synapses *p;
    const sne_weight *weight;  /* of the first row of the kernel that is within the input */
    uint32_t runs;             /* such rows */
    uint32_t from, row, column; /* bits: where the first one of them begins in a map; of a row; of a column */
    uint32_t first, last, at;  /* what the glimpses are of: columns of the kernel, and bit of the first word */
    uint32_t stride;
} sne_window;

SNE_INLINE void sne_window_begin(sne_window *w, const sne_synapses *p, const sne_job *job, size_t stride)
{
    w->glimpses = (sne_glimpse *)(void *)job->rows;
    w->p = p;
    w->column = p->in_channels;
    w->row = (uint32_t)p->in_width * w->column;
    w->stride = (uint32_t)stride;
    w->sums.pitch = (uint32_t)stride;
    w->sums.glimpses = w->glimpses;
    w->sums.map = 4u * (uint32_t)sne_words(p->in_height * (size_t)w->row);
    w->sums.step = 2u * (uint32_t)stride;
    w->sums.same = 1;
    w->sums.total = 0;
    w->sums.added = 0;
}

/* The next row of positions. */
SNE_INLINE void sne_window_row(sne_window *w, uint32_t y)
{
    const sne_synapses *const p = w->p;
    const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
    uint32_t low, high;
    sne_clip(top, p->kernel_height, p->in_height, &low, &high);
    w->runs = high - low;
    w->from = (uint32_t)(top + (int32_t)low) * w->row;
    w->weight = p->weight + low * p->kernel_width * w->column * w->stride;
    w->at = 32u; /* no bit */
}

/* What a position sees, from bit `at` of its first word on. */
SNE_OUTLINE void sne_window_glimpses(sne_window *w, uint32_t first, uint32_t last, uint32_t at)
{
    const uint32_t count = (last - first) * w->column, pitch = w->stride;
    const uint32_t row_step = w->p->kernel_width * w->column * pitch;
    const sne_weight *row = w->weight + first * w->column * pitch;
    uint32_t runs = w->runs, from = at;
    sne_glimpse *to = w->glimpses;
    w->first = first;
    w->last = last;
    w->at = at;
    for (; runs; runs--, from += w->row, row += row_step) {
        const uint32_t bit = from & 31u;
        const sne_weight *end = row + (32u - bit) * pitch;
        uint32_t offset = (from >> 5) * 4u, mask = ~(uint32_t)0 << bit, left = bit + count;
        for (;;) {
            to->offset = offset;
            to->mask = mask;
            to->end = end;
            if (left <= 32u) {
                break;
            }
            to++;
            left -= 32u;
            mask = ~(uint32_t)0;
            offset += 4u;
            end += 32u * pitch;
        }
        to->mask = mask & (~(uint32_t)0 >> (32u - left));
        to++;
    }
    w->sums.n_glimpses = (uint32_t)(to - w->glimpses);
}

/* Sum up what the position at column `x` of the row sees in the maps at `in` and after: w->sums says of how many timesteps, and
 * where to. */
SNE_OUTLINE void sne_window_sums(sne_window *w, uint32_t x, const uint32_t *in, int16_t *sums)
{
    typedef void sums_function(sne_sums *a);
    static sums_function *const some[6] = {NULL, sne_sums_1_helium, sne_sums_2_helium, sne_sums_3_helium,
                                           sne_sums_4_helium, sne_sums_5_helium};
    const sne_synapses *const p = w->p;
    const int32_t left = (int32_t)(x * p->stride_width) - (int32_t)p->padding_width;
    const uint32_t total = w->sums.total, added = w->sums.added;
    uint32_t first = 0, last = p->kernel_width, channels = w->stride, done = 0, from, i;
    if (left < 0 || left + (int32_t)last > (int32_t)p->in_width) {
        sne_clip(left, last, p->in_width, &first, &last);
    }
    from = w->from + (uint32_t)(left + (int32_t)first) * w->column;
    if (w->at != (from & 31u) || w->first != first || w->last != last) {
        sne_window_glimpses(w, first, last, from & 31u);
    }
    w->sums.in = in + (from >> 5);
    w->sums.sums = sums;
    for (;;) {
        const uint32_t vectors = channels <= 40u ? channels / 8u : 4u;
        some[vectors](&w->sums);
        channels -= 8u * vectors;
        if (channels == 0) {
            break;
        }
        for (i = 0; i < w->sums.n_glimpses; i++) {
            w->glimpses[i].end += 32;
        }
        done += 32u;
        w->sums.sums += 32;
        w->sums.total = total;
        w->sums.added = added;
    }
    for (i = 0; done && i < w->sums.n_glimpses; i++) {
        w->glimpses[i].end -= done;
    }
    if (w->sums.added > w->sums.total) { /* timesteps have little in common */
        w->sums.same = 0;
    }
}

/* Charge one position's neurons with the timesteps' sums, [timesteps][stride] at `sums`, and fire them: as sne_fire, timestep by
 * timestep into maps of `map` bytes. Membranes are charged with the biases already at `from`, and left at `v`. */
SNE_INLINE size_t sne_fire_sums_helium(const sne_neurons *p, const int16_t *from, int16_t *v, const int16_t *sums,
                                       uint8_t *at, uint32_t map, uint32_t timesteps, int decay, int32_t factor, int reset)
{
    static const uint16_t lane_bits[8] = {0x101, 0x102, 0x104, 0x108, 0x110, 0x120, 0x140, 0x180}; /* above: to count */
    const uint16x8_t lanes = vldrhq_u16(lane_bits);
    const void *threshold = p->threshold, *bias = p->bias;
    const uint32_t bytes = 2u * p->stride, skip = map - p->stride / 8u;
    uint32_t byte, n = 0, left = timesteps;
    int16x8_t m, t, d;
    __asm__ volatile("2:\n"
                     "lsr r14, %[bytes], #4\n"
                     "dls lr, lr\n"
                     "1:\n"
                     "vldrh.u16 %q[m], [%[from]], #16\n"
                     "vldrh.u16 %q[d], [%[sums]], #16\n"
                     "vadd.i16 %q[m], %q[m], %q[d]\n"
                     "vldrh.u16 %q[t], [%[threshold]], #16\n"
                     SNE_RESET_LANES_HELIUM("16", "m", "t", "vaddvt.u16 %[byte], %q[lanes]\n")
                     SNE_LEAK_LANES_HELIUM("16", "m")
                     "vldrh.u16 %q[d], [%[bias]], #16\n"
                     "vadd.i16 %q[m], %q[m], %q[d]\n"
                     "vstrh.16 %q[m], [%[to]], #16\n"
                     "add %[n], %[n], %[byte], lsr #8\n"
                     "strb %[byte], [%[at]], #1\n"
                     "le lr, 1b\n"
                     "ldr %[byte], %[skip]\n"
                     "add %[at], %[byte]\n"
                     "sub %[threshold], %[bytes]\n"
                     "sub %[bias], %[bytes]\n"
                     "sub %[to], %[bytes]\n"
                     "mov %[from], %[to]\n"
                     "ldr %[byte], %[left]\n"
                     "subs %[byte], #1\n"
                     "str %[byte], %[left]\n"
                     "bne 2b\n"
                     : [byte] "=&Te"(byte), [n] "+r"(n), [from] "+r"(from), [to] "+r"(v), [left] "+m"(left), [at] "+r"(at),
                       [sums] "+r"(sums), [threshold] "+r"(threshold), [bias] "+r"(bias), [m] "=&w"(m), [t] "=&w"(t),
                       [d] "=&w"(d)
                     : [bytes] "r"(bytes), [skip] "m"(skip), [factor] "ri"(decay == SNE_DECAY_Q15 ? factor : 0),
                       [lanes] "w"(lanes), SNE_FIRE_CHOICES_HELIUM
                     : "lr", "cc", "memory");
    return n;
}

/* Room in words for what a position sees, if there is any beside a timestep's sums, and this way is better than listing: not
 * where one list does for all of many outputs, or for three positions in a row. */
SNE_INLINE uint32_t sne_window_room(const sne_synapses *p, const sne_neurons *q)
{
    const uint32_t words = p->kernel_height * ((p->kernel_width * (uint32_t)p->in_channels + 62u) >> 5) * 3u;
    const int listed = (uint32_t)p->out_height * p->out_width == 1u || q->channels > 64u ||
                       (p->out_height > 1u && p->kernel_width > 2u * p->stride_width);
    return !listed && q->channels % 8u == 0 && words + q->stride / 2u <= p->capacity ? words : 0u;
}

/* The layer through all timesteps, as sne_layer, where `room`, sne_window_room, is. */
SNE_INLINE uint32_t sne_window_helium(const sne_synapses *p, const sne_neurons *q, const sne_job *job, sne_cost *cost,
                                      uint32_t room, int decay, int32_t factor, int reset)
{
    const uint32_t stride = q->stride, timesteps = job->timesteps;
    const uint32_t map = 4u * (uint32_t)sne_words((size_t)p->out_height * p->out_width * stride);
    const uint32_t most = (p->capacity - room) / (stride / 2u); /* timesteps at once */
    int16_t *const sums = (int16_t *)(void *)(job->rows + room);
    int16_t *v = (int16_t *)job->membranes;
    uint8_t *out = (uint8_t *)job->out;
    uint32_t y, x, fired = 0;
    sne_window w;
    sne_window_begin(&w, p, job, stride);
    sne_clear(job->out, timesteps * map / 4u);
    for (y = 0; y < p->out_height; y++) {
        sne_window_row(&w, y);
        for (x = 0; x < p->out_width; x++, out += stride / 8u) {
            const int16_t *from = job->fresh ? (const int16_t *)q->bias : v;
            const uint32_t *in = job->in;
            uint8_t *at = out;
            uint32_t left = timesteps;
            do {
                const uint32_t some = left < most ? left : most;
                w.sums.timesteps = some;
                sne_window_sums(&w, x, in, sums);
                fired += (uint32_t)sne_fire_sums_helium(q, from, v, sums, at, map, some, decay, factor, reset);
                in += some * (w.sums.map / 4u);
                at += some * map;
                from = v;
                left -= some;
            } while (left);
            if (job->spread) {
                v += stride;
            }
        }
    }
    cost->synaptic_ops += w.sums.total * stride;
    return fired;
}

#endif
