/* The device's side of the serial protocol: framing, checksums, commands. */
#include "sne_wire.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "the serial protocol's rasters are little-endian words: serve a model from a little-endian processor"
#endif

enum { HEADER = 2, REPLY_HEADER = 3, CRC_BYTES = 4, POLICY_BYTES = 20, RESULT_BYTES = 36, LAYER_BYTES = 14, PROFILE_BYTES = 12 };
enum { MOST_PAUSE = 10000 }; /* milliseconds */

/* CRC-32 (IEEE 802.3, reflected), as zlib's. A nibble at a time: 64 bytes of table instead of 1 KB. */
static uint32_t crc32(const uint8_t *bytes, size_t n)
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

static uint32_t get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get_u32(const uint8_t *p)
{
    return get_u16(p) | get_u16(p + 2) << 16;
}

static void set_u32(uint8_t *p, uint32_t value)
{
    size_t i;
    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Send `n` bytes as one COBS frame, with a zero before it as well: whatever half frame went before ends there. */
static void send(const sne_platform *platform, const uint8_t *bytes, size_t n)
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

static size_t room(const sne_wire *wire)
{
    return sizeof wire->tx - CRC_BYTES - wire->tx_length;
}

static void put_u8(sne_wire *wire, uint32_t value)
{
    wire->tx[wire->tx_length++] = (uint8_t)value;
}

static void put_u16(sne_wire *wire, uint32_t value)
{
    put_u8(wire, value);
    put_u8(wire, value >> 8);
}

static void put_u32(sne_wire *wire, uint32_t value)
{
    put_u16(wire, value);
    put_u16(wire, value >> 16);
}

static void put_u64(sne_wire *wire, uint64_t value)
{
    put_u32(wire, (uint32_t)value);
    put_u32(wire, (uint32_t)(value >> 32));
}

/* A length byte and at most 63 characters. */
static void put_text(sne_wire *wire, const char *text)
{
    size_t n = 0, i;
    while (n < 63 && text[n] != 0) {
        n++;
    }
    put_u8(wire, (uint32_t)n);
    for (i = 0; i < n; i++) {
        put_u8(wire, (uint8_t)text[i]);
    }
}

static void reply(sne_wire *wire, uint8_t op, uint8_t sequence, int status)
{
    wire->tx[0] = op;
    wire->tx[1] = sequence;
    wire->tx[2] = (uint8_t)status;
    set_u32(wire->tx + wire->tx_length, crc32(wire->tx, wire->tx_length));
    send(wire->platform, wire->tx, wire->tx_length + CRC_BYTES);
}

static const int32_t *logits(const sne_wire *wire)
{
    return (const int32_t *)wire->served->state;
}

static const uint32_t *spikes(const sne_wire *wire)
{
    return (const uint32_t *)wire->served->state + wire->served->model->n_classes;
}

static int info(sne_wire *wire)
{
    const sne_model *model = wire->served->model;
    const sne_platform *platform = wire->platform;
    size_t i;
    put_u8(wire, SNE_WIRE_PROTOCOL);
    put_u8(wire, platform->counter);
    put_u16(wire, SNE_RUNTIME_VERSION);
    put_u16(wire, SNE_WIRE_MAX_BODY);
    for (i = 0; i < sizeof model->fingerprint; i++) {
        put_u8(wire, model->fingerprint[i]);
    }
    put_u16(wire, model->n_inputs);
    put_u16(wire, model->n_classes);
    put_u16(wire, model->n_students);
    put_u16(wire, model->n_layers);
    put_u16(wire, model->n_spike_layers);
    put_u16(wire, model->timesteps);
    put_u8(wire, (model->stream ? 1u : 0u) | (model->traced ? 2u : 0u) | (model->routes ? 4u : 0u));
    put_u32(wire, model->input_bytes);
    put_u32(wire, model->state_bytes);
    put_u32(wire, wire->served->vectors ? wire->served->vectors->count : 0u);
    put_u32(wire, platform->flash_size);
    put_u32(wire, platform->flash_used);
    put_u32(wire, platform->ram_size);
    put_u32(wire, platform->ram_used);
    put_u32(wire, platform->stack_size);
    put_u32(wire, platform->stack_peak ? platform->stack_peak(platform->context) : 0u);
    put_u32(wire, platform->clock_hz);
    put_text(wire, model->name);
    put_text(wire, platform->board);
    return SNE_OK;
}

static int reset(sne_wire *wire)
{
    const sne_model *model = wire->served->model;
    memset(wire->served->input, 0, model->input_bytes);
    memset(wire->served->state, 0, model->state_bytes); /* logits and spikes, whichever state it is */
    wire->has_result = 0;
    wire->streaming = 0;
    return SNE_OK;
}

static int load(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t size = wire->served->model->input_bytes;
    uint32_t offset;
    if (n < 4) {
        return SNE_E_LENGTH;
    }
    offset = get_u32(body);
    if (offset > size || n - 4 > size - offset) {
        return SNE_E_ARGUMENT;
    }
    memcpy(wire->served->input + offset, body + 4, n - 4);
    return SNE_OK;
}

/* A policy: nothing (the default one), or its five numbers, then margins or none (the model's own), then early stops or none. */
static int parse_policy(sne_wire *wire, const uint8_t *body, size_t n, sne_policy *policy)
{
    const sne_model *model = wire->served->model;
    const size_t count = n > POLICY_BYTES ? (n - POLICY_BYTES) / 4 : 0;
    const size_t margins = model->n_students - (size_t)1, early = (size_t)model->n_students * (model->timesteps - (size_t)1);
    size_t i;
    memset(policy, 0, sizeof *policy);
    if (n == 0) {
        return SNE_OK;
    }
    if (n < POLICY_BYTES || n % 4 != 0) {
        return SNE_E_LENGTH;
    }
    policy->kind = get_u32(body);
    policy->students = get_u32(body + 4);
    policy->mask = get_u32(body + 8);
    policy->max_ops = get_u32(body + 12);
    policy->timesteps = get_u32(body + 16);
    if (count == 0) {
        return SNE_OK;
    }
    if (count != margins && count != margins + early) {
        return SNE_E_POLICY;
    }
    for (i = 0; i < count; i++) {
        const uint32_t margin = get_u32(body + POLICY_BYTES + 4 * i);
        if (margin > INT32_MAX) {
            return SNE_E_POLICY;
        }
        wire->operands.margins[i] = (int32_t)margin;
    }
    policy->margins = wire->operands.margins;
    policy->early = count > margins ? wire->operands.margins + margins : NULL;
    return SNE_OK;
}

static int infer(sne_wire *wire, const sne_policy *policy)
{
    const int status = sne_run(wire->served->model, wire->served->state, wire->served->input, policy, &wire->result);
    if (status == SNE_OK) {
        wire->has_result = 1;
        wire->streaming = 0;
    }
    return status;
}

/* The result, and as many logits from class `first` on as fit. */
static void put_result(sne_wire *wire, uint32_t first)
{
    const sne_result *r = &wire->result;
    uint32_t c;
    put_u32(wire, r->label);
    put_u32(wire, (uint32_t)r->margin);
    put_u32(wire, r->active);
    put_u32(wire, r->students_run);
    put_u32(wire, r->stop);
    put_u32(wire, r->timesteps);
    put_u32(wire, r->cost.synaptic_ops);
    put_u32(wire, r->cost.macs);
    put_u32(wire, r->cost.neuron_updates);
    for (c = first; c < wire->served->model->n_classes && room(wire) >= 4; c++) {
        put_u32(wire, (uint32_t)logits(wire)[c]);
    }
}

static int run(sne_wire *wire, const uint8_t *body, size_t n)
{
    sne_policy policy;
    int status = parse_policy(wire, body, n, &policy);
    if (status == SNE_OK) {
        status = infer(wire, &policy);
    }
    if (status == SNE_OK) {
        put_result(wire, 0);
    }
    return status;
}

static int result(sne_wire *wire, const uint8_t *body, size_t n)
{
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (!wire->has_result) {
        return SNE_E_NO_RESULT;
    }
    if (get_u16(body) >= wire->served->model->n_classes) {
        return SNE_E_ARGUMENT;
    }
    put_result(wire, get_u16(body));
    return SNE_OK;
}

/* Index of the first difference, or `n`. */
static uint32_t first_difference(const uint32_t *a, const uint32_t *b, uint32_t n)
{
    uint32_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

static int vector(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_model *model = wire->served->model;
    const sne_vectors *v = wire->served->vectors;
    uint32_t index, class_at, layer_at, differs = 0;
    int status;
    if (n != 4) {
        return SNE_E_LENGTH;
    }
    index = get_u32(body);
    if (!v || index >= v->count) {
        return SNE_E_ARGUMENT;
    }
    /* Through the input buffer, because the vectors need not be aligned. */
    memcpy(wire->served->input, v->inputs + (size_t)index * model->input_bytes, model->input_bytes);
    status = infer(wire, NULL);
    if (status != SNE_OK) {
        return status;
    }
    class_at = first_difference((const uint32_t *)wire->served->state,
                                (const uint32_t *)(const void *)(v->logits + (size_t)index * model->n_classes),
                                model->n_classes);
    layer_at = first_difference(spikes(wire), v->spikes + (size_t)index * model->n_spike_layers, model->n_spike_layers);
    differs |= class_at < model->n_classes ? (uint32_t)SNE_DIFFERS_LOGITS : 0u;
    differs |= wire->result.active != v->active[index] ? (uint32_t)SNE_DIFFERS_ACTIVE : 0u;
    differs |= layer_at < model->n_spike_layers ? (uint32_t)SNE_DIFFERS_SPIKES : 0u;
    differs |= wire->result.cost.synaptic_ops != v->ops[2 * (size_t)index] ||
                       wire->result.cost.macs != v->ops[2 * (size_t)index + 1]
                   ? (uint32_t)SNE_DIFFERS_OPS
                   : 0u;
    put_u8(wire, differs);
    put_u16(wire, class_at);
    put_u16(wire, layer_at);
    return SNE_OK;
}

/* What counting costs by itself: the least of a few, since on hardware the first ones may meet a cold cache. */
static uint64_t counter_overhead(const sne_platform *platform)
{
    uint64_t least = UINT64_MAX;
    int i;
    for (i = 0; i < 4; i++) {
        uint64_t count;
        platform->count_start(platform->context);
        count = platform->count_read(platform->context);
        least = count < least ? count : least;
    }
    return least;
}

static int bench(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    uint64_t total = 0, least = UINT64_MAX, most = 0, overhead;
    uint32_t runs, i, stack = 0;
    sne_policy policy;
    int status;
    if (n < 4) {
        return SNE_E_LENGTH;
    }
    runs = get_u32(body);
    if (runs == 0) {
        return SNE_E_ARGUMENT;
    }
    status = parse_policy(wire, body + 4, n - 4, &policy);
    if (status != SNE_OK) {
        return status;
    }
    if (platform->counter == SNE_COUNTER_NONE || !platform->count_start || !platform->count_read) {
        return SNE_E_NO_COUNTER;
    }
    /* The stack is watched in a run of its own: a counter that interrupts would add to it. */
    if (platform->stack_mark) {
        platform->stack_mark(platform->context);
    }
    status = infer(wire, &policy);
    if (status != SNE_OK) {
        return status;
    }
    if (platform->stack_used) {
        stack = platform->stack_used(platform->context);
    }
    overhead = counter_overhead(platform);
    for (i = 0; i < runs; i++) {
        uint64_t count;
        platform->count_start(platform->context);
        status = sne_run(wire->served->model, wire->served->state, wire->served->input, &policy, &wire->result);
        count = platform->count_read(platform->context);
        count = count > overhead ? count - overhead : 0;
        total += count;
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    (void)status; /* as it was before: to look at it would be counted */
    put_u32(wire, runs);
    put_u64(wire, total);
    put_u64(wire, least);
    put_u64(wire, most);
    put_u64(wire, overhead);
    put_u32(wire, stack);
    put_u32(wire, platform->stack_peak ? platform->stack_peak(platform->context) : 0u);
    return SNE_OK;
}

/* `runs` inferences with the pin high, after a pause with it low. */
static int pulse(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    const int counts = platform->counter != SNE_COUNTER_NONE && platform->count_start && platform->count_read;
    uint64_t overhead, total = 0;
    uint32_t runs, i;
    sne_policy policy;
    int status;
    if (n < 8) {
        return SNE_E_LENGTH;
    }
    if (!platform->trigger || !platform->pause) {
        return SNE_E_NO_PIN;
    }
    runs = get_u32(body + 4);
    if (get_u32(body) > MOST_PAUSE || runs == 0) {
        return SNE_E_ARGUMENT;
    }
    status = parse_policy(wire, body + 8, n - 8, &policy);
    if (status != SNE_OK) {
        return status;
    }
    overhead = counts ? counter_overhead(platform) : 0;
    platform->pause(platform->context, get_u32(body));
    platform->trigger(platform->context, 1);
    for (i = 0; i < runs && status == SNE_OK; i++) {
        uint64_t count = 0;
        if (counts) {
            platform->count_start(platform->context);
        }
        status = sne_run(wire->served->model, wire->served->state, wire->served->input, &policy, &wire->result);
        if (counts) {
            count = platform->count_read(platform->context);
        }
        total += count > overhead ? count - overhead : 0;
    }
    platform->trigger(platform->context, 0);
    if (status != SNE_OK) {
        return status;
    }
    wire->has_result = 1;
    wire->streaming = 0;
    put_u64(wire, total);
    return SNE_OK;
}

/* The reply goes out at the old rate; end_of_frame changes it then. */
static int rate(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    if (n != 4) {
        return SNE_E_LENGTH;
    }
    if (!platform->set_rate || !platform->set_rate(platform->context, get_u32(body), 0)) {
        return SNE_E_RATE;
    }
    wire->next_rate = get_u32(body);
    put_u32(wire, wire->next_rate);
    return SNE_OK;
}

static int image(sne_wire *wire)
{
    const sne_platform *platform = wire->platform;
    if (!platform->has_image) {
        return SNE_E_NO_IMAGE;
    }
    put_u32(wire, platform->flash_used);
    put_u32(wire, crc32(platform->image, platform->flash_used));
    return SNE_OK;
}

/* One inference, and what its layers took, in the order in which they ran first. */
static int profile(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    uint32_t i, calls;
    uint64_t count;
    sne_policy policy;
    int status;
    if (n < 2) {
        return SNE_E_LENGTH;
    }
    if (!platform->profile_start || !platform->profile_read || platform->counter == SNE_COUNTER_NONE) {
        return SNE_E_NO_PROFILE;
    }
    status = parse_policy(wire, body + 2, n - 2, &policy);
    if (status != SNE_OK) {
        return status;
    }
    platform->profile_start(platform->context);
    status = infer(wire, &policy);
    if (status != SNE_OK) {
        return status;
    }
    for (i = get_u16(body); room(wire) >= PROFILE_BYTES && platform->profile_read(platform->context, i, &calls, &count); i++) {
        put_u32(wire, calls);
        put_u64(wire, count);
    }
    return SNE_OK;
}

static int spike_counts(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t count = wire->served->model->n_spike_layers;
    uint32_t i;
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (!wire->has_result) {
        return SNE_E_NO_RESULT;
    }
    if (get_u16(body) > count) {
        return SNE_E_ARGUMENT;
    }
    for (i = get_u16(body); i < count && room(wire) >= 4; i++) {
        put_u32(wire, spikes(wire)[i]);
    }
    return SNE_OK;
}

/* Where neuron `i` lies among its layer's membranes: channels are padded. */
static uint32_t place(const sne_layer_info *layer, uint32_t i)
{
    const uint32_t position = i / layer->channels;
    return i + position * ((0u - layer->channels) & 3u);
}

static int membranes(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_layer_info *layer;
    const uint8_t *base;
    uint32_t i;
    if (n != 4) {
        return SNE_E_LENGTH;
    }
    if (!wire->has_result) {
        return SNE_E_NO_RESULT;
    }
    if (get_u16(body) >= wire->served->model->n_layers) {
        return SNE_E_ARGUMENT;
    }
    if (!wire->streaming && !wire->served->model->traced) {
        return SNE_E_NOT_KEPT;
    }
    layer = wire->served->layers + get_u16(body);
    i = get_u16(body + 2);
    if (i > layer->neurons) {
        return SNE_E_ARGUMENT;
    }
    base = (const uint8_t *)wire->served->state + layer->offset;
    if (layer->width == 16) {
        for (; i < layer->neurons && room(wire) >= 2; i++) {
            put_u16(wire, ((const uint16_t *)(const void *)base)[place(layer, i)]);
        }
    } else {
        for (; i < layer->neurons && room(wire) >= 4; i++) {
            put_u32(wire, ((const uint32_t *)(const void *)base)[place(layer, i)]);
        }
    }
    return SNE_OK;
}

static int layer_table(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t count = wire->served->model->n_layers;
    uint32_t i;
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (get_u16(body) > count) {
        return SNE_E_ARGUMENT;
    }
    for (i = get_u16(body); i < count && room(wire) >= LAYER_BYTES; i++) {
        const sne_layer_info *layer = wire->served->layers + i;
        put_u16(wire, layer->student);
        put_u16(wire, layer->layer);
        put_u16(wire, layer->neurons);
        put_u16(wire, layer->channels);
        put_u8(wire, layer->width);
        put_u8(wire, layer->spiking);
        put_u32(wire, layer->offset);
    }
    return SNE_OK;
}

static int step(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_stream *stream = wire->served->model->stream;
    size_t i;
    int status;
    if (!stream) {
        return SNE_E_NO_STREAM;
    }
    if (stream->take ? n != wire->served->model->n_inputs : n % 2 != 0) {
        return SNE_E_LENGTH;
    }
    for (i = 0; !stream->take && i < n / 2; i++) {
        wire->operands.events[i] = (uint16_t)get_u16(body + 2 * i);
    }
    status = stream->take ? SNE_OK : sne_check_events(wire->operands.events, n / 2, wire->served->model->n_inputs);
    if (status != SNE_OK) {
        return status;
    }
    if (!wire->streaming) {
        stream->reset(wire->served->state);
        wire->streaming = 1;
    }
    status = stream->take ? stream->take(wire->served->state, (const int8_t *)body)
                          : stream->step(wire->served->state, wire->operands.events, n / 2);
    if (status != SNE_OK) {
        return status;
    }
    stream->read(wire->served->state, &wire->result);
    wire->has_result = 1;
    put_result(wire, 0);
    return SNE_OK;
}

static int execute(sne_wire *wire, uint8_t op, const uint8_t *body, size_t n)
{
    switch (op) {
    case SNE_OP_INFO:
        return n == 0 ? info(wire) : SNE_E_LENGTH;
    case SNE_OP_RESET:
        return n == 0 ? reset(wire) : SNE_E_LENGTH;
    case SNE_OP_LOAD:
        return load(wire, body, n);
    case SNE_OP_RUN:
        return run(wire, body, n);
    case SNE_OP_RESULT:
        return result(wire, body, n);
    case SNE_OP_VECTOR:
        return vector(wire, body, n);
    case SNE_OP_BENCH:
        return bench(wire, body, n);
    case SNE_OP_SPIKES:
        return spike_counts(wire, body, n);
    case SNE_OP_MEMBRANES:
        return membranes(wire, body, n);
    case SNE_OP_LAYERS:
        return layer_table(wire, body, n);
    case SNE_OP_STEP:
        return step(wire, body, n);
    case SNE_OP_PULSE:
        return pulse(wire, body, n);
    case SNE_OP_RATE:
        return rate(wire, body, n);
    case SNE_OP_IMAGE:
        return n == 0 ? image(wire) : SNE_E_LENGTH;
    case SNE_OP_PROFILE:
        return profile(wire, body, n);
    default:
        return SNE_E_COMMAND;
    }
}

static void end_of_frame(sne_wire *wire)
{
    const size_t n = wire->rx_length;
    int status = wire->rx_error;
    wire->tx_length = REPLY_HEADER;
    if (status == SNE_OK && (wire->rx_block != 0 || n < HEADER + CRC_BYTES)) {
        status = SNE_E_FRAME;
    }
    if (status == SNE_OK && crc32(wire->rx, n - CRC_BYTES) != get_u32(wire->rx + n - CRC_BYTES)) {
        status = SNE_E_CRC;
    }
    if (status != SNE_OK) {
        wire->damaged = wire->damaged < 255 ? (uint8_t)(wire->damaged + 1u) : 255;
        reply(wire, SNE_OP_REJECT, 0, status);
        return;
    }
    wire->damaged = 0;
    wire->unsure = 0;
    status = execute(wire, wire->rx[0], wire->rx + HEADER, n - HEADER - CRC_BYTES);
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
    (void)reset(wire);
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

void sne_wire_fault(const sne_platform *platform, const sne_fault *fault)
{
    uint8_t frame[REPLY_HEADER + 7 * 4 + CRC_BYTES] = {SNE_OP_FAULT, 0, 0};
    uint8_t *body = frame + REPLY_HEADER;
    const size_t n = sizeof frame - CRC_BYTES;
    set_u32(body, fault->exception);
    set_u32(body + 4, fault->pc);
    set_u32(body + 8, fault->lr);
    set_u32(body + 12, fault->xpsr);
    set_u32(body + 16, fault->cfsr);
    set_u32(body + 20, fault->hfsr);
    set_u32(body + 24, fault->address);
    set_u32(frame + n, crc32(frame, n));
    send(platform, frame, sizeof frame);
}
