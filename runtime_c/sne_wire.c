/* The device's side of the serial protocol: frames on their way in, and which command each is. */
#include "sne_wire.h"

#include <string.h>

#include "sne_wire_parts.h"

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "the serial protocol's rasters are little-endian words: serve a model from a little-endian processor"
#endif

static void reply(sne_wire *wire, uint8_t op, uint8_t sequence, int status)
{
    wire->tx[0] = op;
    wire->tx[1] = sequence;
    wire->tx[2] = (uint8_t)status;
    sne_wire_set_u32(wire->tx + wire->tx_length, sne_wire_crc32(wire->tx, wire->tx_length));
    sne_wire_send(wire->platform, wire->tx, wire->tx_length + SNE_WIRE_CRC_BYTES);
}

/* The reply goes out at the old rate; end_of_frame changes it then. */
static int rate(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    if (n != 4) {
        return SNE_E_LENGTH;
    }
    if (!platform->set_rate || !platform->set_rate(platform->context, sne_wire_get_u32(body), 0)) {
        return SNE_E_RATE;
    }
    wire->next_rate = sne_wire_get_u32(body);
    sne_wire_put_u32(wire, wire->next_rate);
    return SNE_OK;
}

static int execute(sne_wire *wire, uint8_t op, const uint8_t *body, size_t n)
{
    switch (op) {
    case SNE_OP_INFO:
        return n == 0 ? sne_wire_info(wire) : SNE_E_LENGTH;
    case SNE_OP_RESET:
        return n == 0 ? sne_wire_reset(wire) : SNE_E_LENGTH;
    case SNE_OP_LOAD:
        return sne_wire_load(wire, body, n);
    case SNE_OP_RUN:
        return sne_wire_run(wire, body, n);
    case SNE_OP_RESULT:
        return sne_wire_result(wire, body, n);
    case SNE_OP_VECTOR:
        return sne_wire_vector(wire, body, n);
    case SNE_OP_BENCH:
        return sne_wire_bench(wire, body, n);
    case SNE_OP_SPIKES:
        return sne_wire_spike_counts(wire, body, n);
    case SNE_OP_MEMBRANES:
        return sne_wire_membranes(wire, body, n);
    case SNE_OP_LAYERS:
        return sne_wire_layer_table(wire, body, n);
    case SNE_OP_STEP:
        return sne_wire_step(wire, body, n);
    case SNE_OP_PULSE:
        return sne_wire_pulse(wire, body, n);
    case SNE_OP_RATE:
        return rate(wire, body, n);
    case SNE_OP_IMAGE:
        return n == 0 ? sne_wire_image(wire) : SNE_E_LENGTH;
    case SNE_OP_PROFILE:
        return sne_wire_profile(wire, body, n);
    default:
        return SNE_E_COMMAND;
    }
}

static void end_of_frame(sne_wire *wire)
{
    const size_t n = wire->rx_length;
    int status = wire->rx_error;
    wire->tx_length = SNE_WIRE_REPLY_HEADER;
    if (status == SNE_OK && (wire->rx_block != 0 || n < SNE_WIRE_HEADER + SNE_WIRE_CRC_BYTES)) {
        status = SNE_E_FRAME;
    }
    if (status == SNE_OK && sne_wire_crc32(wire->rx, n - SNE_WIRE_CRC_BYTES) != sne_wire_get_u32(wire->rx + n - SNE_WIRE_CRC_BYTES)) {
        status = SNE_E_CRC;
    }
    if (status != SNE_OK) {
        wire->damaged = wire->damaged < 255 ? (uint8_t)(wire->damaged + 1u) : 255;
        reply(wire, SNE_OP_REJECT, 0, status);
        return;
    }
    wire->damaged = 0;
    wire->unsure = 0;
    status = execute(wire, wire->rx[0], wire->rx + SNE_WIRE_HEADER, n - SNE_WIRE_HEADER - SNE_WIRE_CRC_BYTES);
    reply(wire, status == SNE_E_COMMAND ? (uint8_t)SNE_OP_REJECT : (uint8_t)(wire->rx[0] | SNE_OP_REPLY), wire->rx[1],
          status);
    if (wire->next_rate != 0) {
        wire->unsure = 1;
        (void)wire->platform->set_rate(wire->platform->context, wire->next_rate, 1);
        wire->next_rate = 0;
    }
}

static void begin_frame(sne_wire *wire)
{
    wire->rx_length = 0;
    wire->rx_block = 0;
    wire->rx_zero = 0;
    wire->rx_error = SNE_OK;
}

static void append(sne_wire *wire, uint8_t byte)
{
    if (wire->rx_length < sizeof wire->rx) {
        wire->rx[wire->rx_length++] = byte;
    } else {
        wire->rx_error = SNE_E_TOO_LONG;
    }
}

void sne_wire_init(sne_wire *wire, const sne_wire_model *served, const sne_platform *platform)
{
    memset(wire, 0, sizeof *wire);
    wire->served = served;
    wire->platform = platform;
    (void)sne_wire_reset(wire);
}

void sne_wire_receive(sne_wire *wire, uint8_t byte)
{
    if (byte == 0) {
        /* Nothing between two zeros is no frame: a sender may put a zero before each one. */
        if (wire->rx_length != 0 || wire->rx_block != 0 || wire->rx_error != SNE_OK) {
            end_of_frame(wire);
        }
        begin_frame(wire);
    } else if (wire->rx_block != 0) {
        append(wire, byte);
        wire->rx_block--;
    } else {
        if (wire->rx_zero) {
            append(wire, 0);
        }
        wire->rx_block = (uint8_t)(byte - 1u);
        wire->rx_zero = byte != 0xff;
    }
}
