/* Frames on their way out: checksums, COBS, and the report of a fault. */
#include "sne_wire_parts.h"

/* CRC-32 (IEEE 802.3, reflected), as zlib's. A nibble at a time: 64 bytes of table instead of 1 KB. */
uint32_t sne_wire_crc32(const uint8_t *bytes, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
    };
    uint32_t crc = 0xffffffffu;
    size_t i;
    for (i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15u];
        crc = crc >> 4 ^ table[crc & 15u];
    }
    return ~crc;
}

/* Send `n` bytes as one COBS frame, with a zero before it as well: whatever half frame went before ends there. */
void sne_wire_send(const sne_platform *platform, const uint8_t *bytes, size_t n)
{
    static const uint8_t zero = 0;
    size_t start = 0;
    int more = 1;
    platform->write(platform->context, &zero, 1);
    while (more) {
        size_t run = 0;
        uint8_t code;
        while (run < 254 && start + run < n && bytes[start + run] != 0) {
            run++;
        }
        code = (uint8_t)(run + 1u);
        platform->write(platform->context, &code, 1);
        platform->write(platform->context, bytes + start, run);
        start += run;
        if (run == 254) {
            more = start < n;
        } else if (start < n) {
            start++; /* the zero that the block stands for */
        } else {
            more = 0;
        }
    }
    platform->write(platform->context, &zero, 1);
}

void sne_wire_put_u8(sne_wire *wire, uint32_t value)
{
    wire->tx[wire->tx_length++] = (uint8_t)value;
}

void sne_wire_put_u16(sne_wire *wire, uint32_t value)
{
    sne_wire_put_u8(wire, value);
    sne_wire_put_u8(wire, value >> 8);
}

void sne_wire_put_u32(sne_wire *wire, uint32_t value)
{
    sne_wire_put_u16(wire, value);
    sne_wire_put_u16(wire, value >> 16);
}

void sne_wire_put_u64(sne_wire *wire, uint64_t value)
{
    sne_wire_put_u32(wire, (uint32_t)value);
    sne_wire_put_u32(wire, (uint32_t)(value >> 32));
}

void sne_wire_fault(const sne_platform *platform, const sne_fault *fault)
{
    uint8_t frame[SNE_WIRE_REPLY_HEADER + 7 * 4 + SNE_WIRE_CRC_BYTES] = {SNE_OP_FAULT, 0, 0};
    uint8_t *body = frame + SNE_WIRE_REPLY_HEADER;
    const size_t n = sizeof frame - SNE_WIRE_CRC_BYTES;
    sne_wire_set_u32(body, fault->exception);
    sne_wire_set_u32(body + 4, fault->pc);
    sne_wire_set_u32(body + 8, fault->lr);
    sne_wire_set_u32(body + 12, fault->xpsr);
    sne_wire_set_u32(body + 16, fault->cfsr);
    sne_wire_set_u32(body + 20, fault->hfsr);
    sne_wire_set_u32(body + 24, fault->address);
    sne_wire_set_u32(frame + n, sne_wire_crc32(frame, n));
    sne_wire_send(platform, frame, sizeof frame);
}
