/* What the parts of the serial protocol share. */
#ifndef SNE_WIRE_PARTS_H
#define SNE_WIRE_PARTS_H

#include "sne_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SNE_WIRE_HEADER = 2, SNE_WIRE_REPLY_HEADER = 3, SNE_WIRE_CRC_BYTES = 4 };

static inline uint32_t sne_wire_get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t sne_wire_get_u32(const uint8_t *p)
{
    return sne_wire_get_u16(p) | sne_wire_get_u16(p + 2) << 16;
}

static inline void sne_wire_set_u32(uint8_t *p, uint32_t value)
{
    size_t i;
    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Bytes of a reply's body that are still free. */
static inline size_t sne_wire_room(const sne_wire *wire)
{
    return sizeof wire->tx - SNE_WIRE_CRC_BYTES - wire->tx_length;
}

static inline const uint32_t *sne_wire_spikes(const sne_wire *wire)
{
    return (const uint32_t *)wire->served->state + wire->served->model->n_classes;
}

/* sne_wire_frame.c: CRC-32 as zlib's; a frame; and numbers of a reply, lowest byte first. */
uint32_t sne_wire_crc32(const uint8_t *bytes, size_t n);
void sne_wire_send(const sne_platform *platform, const uint8_t *bytes, size_t n);
void sne_wire_put_u8(sne_wire *wire, uint32_t value);
void sne_wire_put_u16(sne_wire *wire, uint32_t value);
void sne_wire_put_u32(sne_wire *wire, uint32_t value);
void sne_wire_put_u64(sne_wire *wire, uint64_t value);

/* Commands: they read a request's body of `n` bytes, write the reply's, and return its status. sne_wire_run.c: */
int sne_wire_reset(sne_wire *wire);
int sne_wire_load(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_run(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_result(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_vector(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_step(sne_wire *wire, const uint8_t *body, size_t n);

/* A policy as it comes; and the model run by it. */
int sne_wire_parse_policy(sne_wire *wire, const uint8_t *body, size_t n, sne_policy *policy);
int sne_wire_infer(sne_wire *wire, const sne_policy *policy);

/* sne_wire_measure.c */
int sne_wire_bench(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_pulse(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_profile(sne_wire *wire, const uint8_t *body, size_t n);

/* sne_wire_look.c */
int sne_wire_info(sne_wire *wire);
int sne_wire_image(sne_wire *wire);
int sne_wire_layer_table(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_spike_counts(sne_wire *wire, const uint8_t *body, size_t n);
int sne_wire_membranes(sne_wire *wire, const uint8_t *body, size_t n);

#ifdef __cplusplus
}
#endif
#endif
