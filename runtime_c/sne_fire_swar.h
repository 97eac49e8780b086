/* Firing without vector instructions (Cortex-M0, M3): two int16 membranes in a word. Signs turned, a lane u = v + 2^15 is
 * never negative, and whole words add and subtract exactly as long as every final lane is within 0 .. 65535, which
 * the proven bounds say. */
#ifndef SNE_FIRE_SWAR_H
#define SNE_FIRE_SWAR_H

#include "sne_fire_pair.h"

#define SNE_FIRE_SIGNS 0x80008000u

SNE_INLINE int sne_fire_swar_can(int reset, int decay, int32_t factor, int clamp)
{
    return !clamp && reset != SNE_RESET_DELAYED && (decay == SNE_DECAY_NONE || (decay == SNE_DECAY_SHIFT && factor < 16));
}

/* Sign bits of the lanes that are above their threshold; `u` has its signs turned. Thresholds are 1 .. 2^15 - 1. */
SNE_INLINE uint32_t sne_above(uint32_t u, uint32_t threshold)
{
    return ((u & ~SNE_FIRE_SIGNS) + (threshold ^ ~SNE_FIRE_SIGNS)) & u;
}

/* Leak and charge: u - (u >> shift) + drive, where u >> shift is (v >> shift) + 2^(15 - shift). Signs turned back. */
SNE_INLINE uint32_t sne_charged(uint32_t u, uint32_t drive, int decay, int32_t shift)
{
    const uint32_t lanes = 0xffffu >> shift, half = 0x8000u >> shift;
    uint32_t back = 0u - SNE_FIRE_SIGNS; /* what turning the drive's signs adds */
    if (decay == SNE_DECAY_SHIFT) {
        u -= (u >> shift) & (lanes | lanes << 16);
        back += half | half << 16;
    }
    return (u + (drive ^ SNE_FIRE_SIGNS) + back) ^ SNE_FIRE_SIGNS;
}

SNE_INLINE size_t sne_fire_swar(const sne_neurons *p, uint32_t *v, const uint32_t *drive, size_t positions,
                                uint32_t *bits, size_t first, int decay, int32_t factor, int reset)
{
    sne_spikes spikes = {bits, first, 0};
    const size_t pairs = p->stride / 2u;
    size_t position;
    for (position = 0; position < positions; position++, spikes.first += p->channels) {
        const uint32_t *threshold = (const uint32_t *)p->threshold, *add = drive;
        const uint32_t *const end = threshold + pairs;
        for (; threshold != end; threshold += 2, add += 2, v += 2) {
            uint32_t u0 = v[0] ^ SNE_FIRE_SIGNS, u1 = v[1] ^ SNE_FIRE_SIGNS;
            const uint32_t t0 = threshold[0], t1 = threshold[1];
            if ((sne_above(u0, t0) | sne_above(u1, t1)) & SNE_FIRE_SIGNS) {
                const size_t c = p->stride - 2u * (size_t)(end - threshold);
                u0 = sne_fire_pair(&spikes, u0 ^ SNE_FIRE_SIGNS, t0, c, reset) ^ SNE_FIRE_SIGNS;
                u1 = sne_fire_pair(&spikes, u1 ^ SNE_FIRE_SIGNS, t1, c + 2, reset) ^ SNE_FIRE_SIGNS;
            }
            v[0] = sne_charged(u0, add[0], decay, factor);
            v[1] = sne_charged(u1, add[1], decay, factor);
        }
    }
    return spikes.n;
}

#endif
