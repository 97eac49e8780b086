/* Firing with Helium: eight int16 membranes at once, every kind of neuron; tails are predicated. No branch: bit k + (first
 * mod 8) stands for lane k, and adding up those of the lanes that fired, to what is left of the byte before, makes the
 * next byte of spikes. */
#ifndef SNE_FIRE_HELIUM_H
#define SNE_FIRE_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

SNE_INLINE size_t sne_fire_helium(const sne_neurons *p, int16_t *v, const int16_t *drive, size_t positions,
                                  uint32_t *bits, size_t first, int decay, int32_t factor, int reset, int clamp)
{
    static const uint16_t lane_bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const int16x8_t high = vdupq_n_s16((int16_t)p->clamp_high), low = vdupq_n_s16((int16_t)p->clamp_low);
    const uint16x8_t from_bit_0 = vldrhq_u16(lane_bits), ones = vdupq_n_u16(1);
    const int16x8_t zero = vdupq_n_s16(0);
    const size_t together = p->channels & 7u ? 1u : positions; /* whole bytes: lanes stand for the same bits at each */
    uint32_t n = 0;
    for (; positions; positions -= together, first += p->channels, v += p->stride) {
        const uint16x8_t lanes = vshlq_r_u16(from_bit_0, (int32_t)(first & 7u));
        uint8_t *at = (uint8_t *)bits + (first >> 3);
        const void *threshold = p->threshold, *add = drive;
        int16_t *to = v;
        uint32_t byte = *at, left = (uint32_t)together;
        int16x8_t m, t, d;
        __asm__ volatile("2:\n"
                         "dlstp.16 lr, %[stride]\n"
                         "1:\n"
                         "vldrh.u16 %q[t], [%[threshold]], #16\n"
                         "vldrh.u16 %q[m], [%[to]]\n"
                         ".if %c[subtract]\n"
                         "vpttt.s16 gt, %q[m], %q[t]\n"
                         "vsubt.i16 %q[m], %q[m], %q[t]\n"
                         ".elseif %c[to_zero]\n"
                         "vpttt.s16 gt, %q[m], %q[t]\n"
                         "veort %q[m], %q[m], %q[m]\n"
                         ".else\n"
                         "vptt.s16 gt, %q[m], %q[t]\n"
                         ".endif\n"
                         "vaddvat.u16 %[byte], %q[lanes]\n"
                         "vaddvat.u16 %[n], %q[ones]\n"
                         ".if %c[clamp]\n"
                         "vmin.s16 %q[m], %q[m], %q[high]\n"
                         "vmax.s16 %q[m], %q[m], %q[low]\n"
                         ".endif\n"
                         ".if %c[q15]\n"
                         "vqdmulh.s16 %q[m], %q[m], %[factor]\n" /* (2 v f) >> 16, floored; f < 2^15: never saturates */
                         ".elseif %c[shift] == 1\n"
                         "vrhadd.s16 %q[m], %q[m], %q[zero]\n" /* v - (v >> 1) is (v + 1) >> 1 */
                         ".elseif %c[shift] > 1\n"
                         "vshr.s16 %q[d], %q[m], #%c[shift]\n"
                         "vsub.i16 %q[m], %q[m], %q[d]\n"
                         ".endif\n"
                         ".if %c[delayed]\n"
                         "vpst\n" /* the lanes that fired, still */
                         "vsubt.i16 %q[m], %q[m], %q[t]\n"
                         ".endif\n"
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
                         : [byte] "+Te"(byte), [n] "+Te"(n), [to] "+r"(to), [left] "+l"(left), [at] "+r"(at),
                           [threshold] "+r"(threshold), [add] "+r"(add), [m] "=&w"(m), [t] "=&w"(t), [d] "=&w"(d)
                         : [stride] "r"((uint32_t)p->stride),
                           [factor] "r"(factor), [lanes] "w"(lanes), [ones] "w"(ones), [zero] "w"(zero),
                           [high] "w"(high), [low] "w"(low), [shift] "i"(decay == SNE_DECAY_SHIFT ? factor : 0),
                           [q15] "i"(decay == SNE_DECAY_Q15), [clamp] "i"(clamp),
                           [subtract] "i"(reset == SNE_RESET_SUBTRACT), [to_zero] "i"(reset == SNE_RESET_ZERO),
                           [delayed] "i"(reset == SNE_RESET_DELAYED)
                         : "lr", "cc", "memory");
        if (byte) { /* never beyond the last neuron: those that pad a position don't fire */
            *at = (uint8_t)byte;
        }
    }
    return n;
}

#endif
