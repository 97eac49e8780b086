/* Firing with Helium: eight int16 or four int32 membranes at once, every kind of neuron. No branch: bit k + (first mod 8)
 * stands for lane k, and adding up those of the lanes that fired, to what is left of the byte before, makes the next byte
 * of spikes. */
#ifndef SNE_FIRE_HELIUM_H
#define SNE_FIRE_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

/* Reset those of the membranes `m` that are over their thresholds t. `width` is text, and `then` what else these lanes do: "tt"
 * and two instructions, or "t" and one. */
#define SNE_RESET_LANES_HELIUM(width, m, then, more)             \
    ".if %c[reset] == 0\n" /* to subtract, to zero, delayed */      \
    "vpt" then ".s" width " gt, %q[" m "], %q[t]\n"              \
    "vsubt.i" width " %q[" m "], %q[" m "], %q[t]\n" more        \
    ".elseif %c[reset] == 1\n"                                   \
    "vpt" then ".s" width " gt, %q[" m "], %q[t]\n"              \
    "veort %q[" m "], %q[" m "], %q[" m "]\n" more               \
    ".else\n"                                                    \
    "vp" then ".s" width " gt, %q[" m "], %q[t]\n" more          \
    ".endif\n"

/* Let them leak; a delayed reset takes the lanes that fired, still predicated. d is free. */
#define SNE_LEAK_LANES_HELIUM(width, m)                                                                      \
    ".if %c[leak] == 32\n" /* by a factor */                                                                 \
    "vqdmulh.s" width " %q[" m "], %q[" m "], %[factor]\n" /* floored; a positive factor never saturates */  \
    ".elseif %c[leak] == 1\n"                                                                               \
    "vrshr.s" width " %q[" m "], %q[" m "], #1\n" /* v - (v >> 1) is (v + 1) >> 1 */                         \
    ".elseif %c[leak] > 1\n"                                                                                \
    "vshr.s" width " %q[d], %q[" m "], #%c[leak]\n"                                                         \
    "vsub.i" width " %q[" m "], %q[" m "], %q[d]\n"                                                          \
    ".endif\n"                                                                                               \
    ".if %c[reset] == 2\n"                                                                                   \
    "vpst\n"                                                                                                 \
    "vsubt.i" width " %q[" m "], %q[" m "], %q[t]\n"                                                         \
    ".endif\n"

/* Both; `lanes` of those that fired are added to `byte`, and their number to `n`. */
#define SNE_FIRE_LANES_HELIUM(width, lanes)                                                                             \
    SNE_RESET_LANES_HELIUM(width, "m", "tt",                                                                            \
                           "vaddvat.u" width " %[byte], %q[" lanes "]\nvaddvat.u" width " %[n], %q[ones]\n")            \
    ".if %c[clamp]\n"                                                                                                   \
    "vmin.s" width " %q[m], %q[m], %q[high]\n"                                                                          \
    "vmax.s" width " %q[m], %q[m], %q[low]\n"                                                                           \
    ".endif\n"                                                                                                          \
    SNE_LEAK_LANES_HELIUM(width, "m")

/* Four int32 membranes, in memory. */
#define SNE_FIRE_FOUR_HELIUM(lanes)                  \
    "vldrw.u32 %q[t], [%[threshold]], #16\n"         \
    "vldrw.u32 %q[m], [%[to]]\n"                     \
    SNE_FIRE_LANES_HELIUM("32", lanes)               \
    "vldrw.u32 %q[d], [%[add]], #16\n"               \
    "vadd.i32 %q[m], %q[m], %q[d]\n"                 \
    "vstrw.32 %q[m], [%[to]], #16\n"

#define SNE_FIRE_CHOICES_HELIUM \
    [leak] "i"(decay == SNE_DECAY_Q15 ? 32 : decay == SNE_DECAY_SHIFT ? factor : 0), [reset] "i"(reset)

/* The order in which assembler knows resets. */
typedef char sne_assert_resets[SNE_RESET_SUBTRACT == 0 && SNE_RESET_ZERO == 1 && SNE_RESET_DELAYED == 2 ? 1 : -1];

/* `positions` positions whose spikes begin at the same bit of a byte. */
SNE_INLINE size_t sne_fire_16_helium(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions,
                                     uint8_t *at, uint32_t bit, int decay, int32_t factor, int reset, int clamp)
{
    static const uint16_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const int16x8_t high = vdupq_n_s16((int16_t)p->clamp_high), low = vdupq_n_s16((int16_t)p->clamp_low);
    const uint16x8_t lanes = vshlq_r_u16(vldrhq_u16(lane_bits), (int32_t)bit), ones = vdupq_n_u16(1);
    const void *threshold = p->threshold, *add = drive;
    uint32_t byte = *at, n = 0;
    int16x8_t m, t, d;
    __asm__ volatile("2:\n"
                     "dlstp.16 lr, %[stride]\n"
                     "1:\n"
                     "vldrh.u16 %q[t], [%[threshold]], #16\n"
                     "vldrh.u16 %q[m], [%[to]]\n"
                     SNE_FIRE_LANES_HELIUM("16", "lanes")
                     "vldrh.u16 %q[d], [%[add]], #16\n"
                     "vadd.i16 %q[m], %q[m], %q[d]\n"
                     "vstrh.16 %q[m], [%[to]], #16\n"
                     "strb %[byte], [%[at]], #1\n"
                     "lsr %[byte], %[byte], #8\n"
                     "letp lr, 1b\n"
                     "sub %[threshold], %[threshold], %[stride], lsl #1\n"
                     "sub %[add], %[add], %[stride], lsl #1\n"
                     "subs %[left], #1\n"
                     "bne 2b\n"
                     : [byte] "+Te"(byte), [n] "+Te"(n), [to] "+r"(v), [left] "+l"(positions), [at] "+r"(at),
                       [threshold] "+r"(threshold), [add] "+r"(add), [m] "=&w"(m), [t] "=&w"(t), [d] "=&w"(d)
                     : [stride] "r"((uint32_t)p->stride), [factor] "r"(factor), [lanes] "w"(lanes), [ones] "w"(ones),
                       [high] "w"(high), [low] "w"(low), [clamp] "i"(clamp), SNE_FIRE_CHOICES_HELIUM
                     : "lr", "cc", "memory");
    if (byte) { /* never beyond the last neuron: those that pad a position don't fire */
        *at = (uint8_t)byte;
    }
    return n;
}

SNE_INLINE size_t sne_fire_32_helium(const sne_neurons *p, int32_t *v, const int32_t *drive, size_t positions,
                                     uint8_t *at, uint32_t bit, int decay, int32_t factor, int reset, int clamp)
{
    static const uint32_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const int32x4_t high = vdupq_n_s32(p->clamp_high), low = vdupq_n_s32(p->clamp_low);
    const uint32x4_t lanes = vshlq_r_u32(vldrwq_u32(lane_bits), (int32_t)bit);
    const uint32x4_t lanes_4 = vshlq_n_u32(lanes, 4), ones = vdupq_n_u32(1);
    const void *threshold = p->threshold, *add = drive;
    uint32_t byte = *at, n = 0;
    int32x4_t m, t, d;
    __asm__ volatile("2:\n"
                     "lsr r14, %[stride], #3\n"
                     "wls lr, lr, 3f\n"
                     "1:\n"
                     SNE_FIRE_FOUR_HELIUM("lanes")
                     SNE_FIRE_FOUR_HELIUM("lanes_4")
                     "strb %[byte], [%[at]], #1\n"
                     "lsr %[byte], %[byte], #8\n"
                     "le lr, 1b\n"
                     "3:\n"
                     "tst %[stride], #4\n"
                     "beq 4f\n"
                     SNE_FIRE_FOUR_HELIUM("lanes")
                     "strb %[byte], [%[at]], #1\n"
                     "lsr %[byte], %[byte], #8\n"
                     "4:\n"
                     "sub %[threshold], %[threshold], %[stride], lsl #2\n"
                     "sub %[add], %[add], %[stride], lsl #2\n"
                     "subs %[left], #1\n"
                     "bne 2b\n"
                     : [byte] "+Te"(byte), [n] "+Te"(n), [to] "+r"(v), [left] "+l"(positions), [at] "+r"(at),
                       [threshold] "+r"(threshold), [add] "+r"(add), [m] "=&w"(m), [t] "=&w"(t), [d] "=&w"(d)
                     : [stride] "r"((uint32_t)p->stride), [factor] "r"((uint32_t)factor << 16), [lanes] "w"(lanes),
                       [lanes_4] "w"(lanes_4), [ones] "w"(ones), [high] "w"(high), [low] "w"(low), [clamp] "i"(clamp), SNE_FIRE_CHOICES_HELIUM
                     : "lr", "cc", "memory");
    if (byte) {
        *at = (uint8_t)byte;
    }
    return n;
}

SNE_INLINE size_t sne_fire_helium(const sne_neurons *p, void *v, const void *drive, size_t positions, uint32_t *bits,
                                  size_t first, int width, int decay, int32_t factor, int reset, int clamp)
{
    const size_t together = p->channels & 7u ? 1u : positions; /* whole bytes: lanes stand for the same bits at each */
    size_t n = 0;
    for (; positions; positions -= together, first += p->channels, v = sne_at(v, p->stride, width)) {
        uint8_t *const at = (uint8_t *)bits + (first >> 3);
        if (width == 16) {
            n += sne_fire_16_helium(p, (int16_t *)v, (const int16_t *)drive, together, at, first & 7u, decay, factor,
                                    reset, clamp);
        } else {
            n += sne_fire_32_helium(p, (int32_t *)v, (const int32_t *)drive, together, at, first & 7u, decay, factor,
                                    reset, clamp);
        }
    }
    return n;
}

/* One position through all timesteps, its drive constant and its membranes in registers: eight neurons at a time, a byte of
 * spikes in each of `timesteps` maps of `map` bytes. The membranes begin fresh, and are left in `v`. */
SNE_INLINE size_t sne_fire_steps_16_helium(const sne_neurons *p, int16_t *v, const int16_t *drive, uint8_t *at, size_t map,
                                           uint32_t timesteps, int decay, int32_t factor, int reset)
{
    static const uint16_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t lanes = vldrhq_u16(lane_bits), ones = vdupq_n_u16(1);
    const void *threshold = p->threshold;
    uint32_t byte, n = 0, left = p->stride / 8u, back = timesteps * map - 1u;
    int16x8_t m, t, c, d;
    __asm__ volatile("2:\n"
                     "vldrh.u16 %q[t], [%[threshold]], #16\n"
                     "vldrh.u16 %q[c], [%[add]], #16\n"
                     "vmov %q[m], %q[c]\n"
                     "ldr %[byte], %[timesteps]\n"
                     "dls lr, %[byte]\n"
                     "1:\n"
                     SNE_RESET_LANES_HELIUM("16", "m", "tt",
                                            "vaddvt.u16 %[byte], %q[lanes]\nvaddvat.u16 %[n], %q[ones]\n")
                     SNE_LEAK_LANES_HELIUM("16", "m")
                     "vadd.i16 %q[m], %q[m], %q[c]\n"
                     "strb %[byte], [%[at]]\n"
                     "add %[at], %[map]\n"
                     "le lr, 1b\n"
                     "vstrh.16 %q[m], [%[to]], #16\n"
                     "ldr %[byte], %[back]\n"
                     "sub %[at], %[byte]\n"
                     "ldr %[byte], %[left]\n"
                     "subs %[byte], #1\n"
                     "str %[byte], %[left]\n"
                     "bne 2b\n"
                     : [byte] "=&Te"(byte), [n] "+Te"(n), [to] "+r"(v), [left] "+m"(left), [at] "+r"(at),
                       [threshold] "+r"(threshold), [add] "+r"(drive), [m] "=&w"(m), [t] "=&w"(t), [c] "=&w"(c),
                       [d] "=&w"(d)
                     : [map] "r"(map), [back] "m"(back), [timesteps] "m"(timesteps), [factor] "ri"(decay == SNE_DECAY_Q15 ? factor : 0),
                       [lanes] "w"(lanes), [ones] "w"(ones), SNE_FIRE_CHOICES_HELIUM
                     : "lr", "cc", "memory");
    return n;
}

/* A lane's bit counts in the upper half as well. */
SNE_INLINE size_t sne_fire_steps_32_helium(const sne_neurons *p, int32_t *v, const int32_t *drive, uint8_t *at, size_t map,
                                           uint32_t timesteps, int decay, int32_t factor, int reset)
{
    static const uint32_t lane_bits[8] = {0x10001, 0x10002, 0x10004, 0x10008, 0x10010, 0x10020, 0x10040, 0x10080};
    const uint32x4_t lanes = vldrwq_u32(lane_bits), lanes_4 = vldrwq_u32(lane_bits + 4);
    const void *threshold = p->threshold;
    uint32_t byte, n = 0, left = p->stride / 8u, back = timesteps * map - 1u;
    int32x4_t m, m4, t, c, c4, d;
    __asm__ volatile("2:\n"
                     "vldrw.u32 %q[c], [%[add]], #16\n"
                     "vldrw.u32 %q[c4], [%[add]], #16\n"
                     "vmov %q[m], %q[c]\n"
                     "vmov %q[m4], %q[c4]\n"
                     "ldr %[byte], %[timesteps]\n"
                     "dls lr, %[byte]\n"
                     "1:\n"
                     "vldrw.u32 %q[t], [%[threshold]]\n"
                     SNE_RESET_LANES_HELIUM("32", "m", "t", "vaddvt.u32 %[byte], %q[lanes]\n")
                     SNE_LEAK_LANES_HELIUM("32", "m")
                     "vldrw.u32 %q[t], [%[threshold], #16]\n"
                     SNE_RESET_LANES_HELIUM("32", "m4", "t", "vaddvat.u32 %[byte], %q[lanes_4]\n")
                     SNE_LEAK_LANES_HELIUM("32", "m4")
                     "vadd.i32 %q[m], %q[m], %q[c]\n"
                     "vadd.i32 %q[m4], %q[m4], %q[c4]\n"
                     "strb %[byte], [%[at]]\n"
                     "add %[n], %[n], %[byte], lsr #16\n"
                     "add %[at], %[map]\n"
                     "le lr, 1b\n"
                     "vstrw.32 %q[m], [%[to]], #16\n"
                     "vstrw.32 %q[m4], [%[to]], #16\n"
                     "add %[threshold], #32\n"
                     "ldr %[byte], %[back]\n"
                     "sub %[at], %[byte]\n"
                     "ldr %[byte], %[left]\n"
                     "subs %[byte], #1\n"
                     "str %[byte], %[left]\n"
                     "bne 2b\n"
                     : [byte] "=&Te"(byte), [n] "+r"(n), [to] "+r"(v), [left] "+m"(left), [at] "+r"(at),
                       [threshold] "+r"(threshold), [add] "+r"(drive), [m] "=&w"(m), [m4] "=&w"(m4), [t] "=&w"(t),
                       [c] "=&w"(c), [c4] "=&w"(c4), [d] "=&w"(d)
                     : [map] "r"(map), [back] "m"(back), [timesteps] "m"(timesteps), [factor] "ri"(decay == SNE_DECAY_Q15 ? factor * 65536 : 0),
                       [lanes] "w"(lanes), [lanes_4] "w"(lanes_4), SNE_FIRE_CHOICES_HELIUM
                     : "lr", "cc", "memory");
    return n;
}

/* Of which neurons? `decay`, `reset` and `clamp` are constants. */
SNE_INLINE int sne_fire_steps_can(const sne_neurons *p, int clamp)
{
    return !clamp && (p->channels & 7u) == 0;
}

/* sne_fire for one position whose drive is constant, timestep by timestep into `timesteps` maps of `words`. */
SNE_INLINE size_t sne_fire_steps_helium(const sne_neurons *p, void *v, const void *drive, uint32_t *bits, size_t words,
                                        uint32_t timesteps, size_t first, int width, int decay, int32_t factor, int reset)
{
    uint8_t *const at = (uint8_t *)bits + (first >> 3);
    if (width == 16) {
        return sne_fire_steps_16_helium(p, (int16_t *)v, (const int16_t *)drive, at, 4u * words, timesteps, decay, factor,
                                        reset);
    }
    return sne_fire_steps_32_helium(p, (int32_t *)v, (const int32_t *)drive, at, 4u * words, timesteps, decay, factor,
                                    reset);
}

#endif
