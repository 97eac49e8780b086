/* Commands that look: at the device and its program, at layers, their spikes and their membranes. */
#include "sne_wire_parts.h"

enum { LAYER_BYTES = 14 };

/* A length byte and at most 63 characters. */
static void put_text(sne_wire *wire, const char *text)
{
    size_t n = 0, i;
    while (n < 63 && text[n] != 0) {
        n++;
    }
    sne_wire_put_u8(wire, (uint32_t)n);
    for (i = 0; i < n; i++) {
        sne_wire_put_u8(wire, (uint8_t)text[i]);
    }
}

int sne_wire_info(sne_wire *wire)
{
    const sne_model *model = wire->served->model;
    const sne_platform *platform = wire->platform;
    size_t i;
    sne_wire_put_u8(wire, SNE_WIRE_PROTOCOL);
    sne_wire_put_u8(wire, platform->counter);
    sne_wire_put_u16(wire, SNE_RUNTIME_VERSION);
    sne_wire_put_u16(wire, SNE_WIRE_MAX_BODY);
    for (i = 0; i < sizeof model->fingerprint; i++) {
        sne_wire_put_u8(wire, model->fingerprint[i]);
    }
    sne_wire_put_u16(wire, model->n_inputs);
    sne_wire_put_u16(wire, model->n_classes);
    sne_wire_put_u16(wire, model->n_students);
    sne_wire_put_u16(wire, model->n_layers);
    sne_wire_put_u16(wire, model->n_spike_layers);
    sne_wire_put_u16(wire, model->timesteps);
    sne_wire_put_u8(wire, (model->stream ? 1u : 0u) | (model->traced ? 2u : 0u) | (model->routes ? 4u : 0u));
    sne_wire_put_u32(wire, model->input_bytes);
    sne_wire_put_u32(wire, model->state_bytes);
    sne_wire_put_u32(wire, wire->served->vectors ? wire->served->vectors->count : 0u);
    sne_wire_put_u32(wire, platform->flash_size);
    sne_wire_put_u32(wire, platform->flash_used);
    sne_wire_put_u32(wire, platform->ram_size);
    sne_wire_put_u32(wire, platform->ram_used);
    sne_wire_put_u32(wire, platform->stack_size);
    sne_wire_put_u32(wire, platform->stack_peak ? platform->stack_peak(platform->context) : 0u);
    sne_wire_put_u32(wire, platform->clock_hz);
    put_text(wire, model->name);
    put_text(wire, platform->board);
    return SNE_OK;
}

int sne_wire_image(sne_wire *wire)
{
    const sne_platform *platform = wire->platform;
    if (!platform->has_image) {
        return SNE_E_NO_IMAGE;
    }
    sne_wire_put_u32(wire, platform->flash_used);
    sne_wire_put_u32(wire, sne_wire_crc32(platform->image, platform->flash_used));
    return SNE_OK;
}

int sne_wire_layer_table(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t count = wire->served->model->n_layers;
    uint32_t i;
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (sne_wire_get_u16(body) > count) {
        return SNE_E_ARGUMENT;
    }
    for (i = sne_wire_get_u16(body); i < count && sne_wire_room(wire) >= LAYER_BYTES; i++) {
        const sne_layer_info *layer = wire->served->layers + i;
        sne_wire_put_u16(wire, layer->student);
        sne_wire_put_u16(wire, layer->layer);
        sne_wire_put_u16(wire, layer->neurons);
        sne_wire_put_u16(wire, layer->channels);
        sne_wire_put_u8(wire, layer->width);
        sne_wire_put_u8(wire, layer->spiking);
        sne_wire_put_u32(wire, layer->offset);
    }
    return SNE_OK;
}

int sne_wire_spike_counts(sne_wire *wire, const uint8_t *body, size_t n)
{
    const uint32_t count = wire->served->model->n_spike_layers;
    uint32_t i;
    if (n != 2) {
        return SNE_E_LENGTH;
    }
    if (!wire->has_result) {
        return SNE_E_NO_RESULT;
    }
    if (sne_wire_get_u16(body) > count) {
        return SNE_E_ARGUMENT;
    }
    for (i = sne_wire_get_u16(body); i < count && sne_wire_room(wire) >= 4; i++) {
        sne_wire_put_u32(wire, sne_wire_spikes(wire)[i]);
    }
    return SNE_OK;
}

/* Where neuron `i` lies among its layer's membranes: channels are padded. */
static uint32_t place(const sne_layer_info *layer, uint32_t i)
{
    const uint32_t position = i / layer->channels;
    return i + position * ((0u - layer->channels) & 3u);
}

int sne_wire_membranes(sne_wire *wire, const uint8_t *body, size_t n)
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
    if (sne_wire_get_u16(body) >= wire->served->model->n_layers) {
        return SNE_E_ARGUMENT;
    }
    if (!wire->streaming && !wire->served->model->traced) {
        return SNE_E_NOT_KEPT;
    }
    layer = wire->served->layers + sne_wire_get_u16(body);
    i = sne_wire_get_u16(body + 2);
    if (i > layer->neurons) {
        return SNE_E_ARGUMENT;
    }
    base = (const uint8_t *)wire->served->state + layer->offset;
    if (layer->width == 16) {
        for (; i < layer->neurons && sne_wire_room(wire) >= 2; i++) {
            sne_wire_put_u16(wire, ((const uint16_t *)(const void *)base)[place(layer, i)]);
        }
    } else {
        for (; i < layer->neurons && sne_wire_room(wire) >= 4; i++) {
            sne_wire_put_u32(wire, ((const uint32_t *)(const void *)base)[place(layer, i)]);
        }
    }
    return SNE_OK;
}
