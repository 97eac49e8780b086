/* Fuzz target: any bytes may arrive on the line. Every request that the input spells out is also sent well framed, so that
 * the commands themselves see hostile bodies. Link it with an exported model and sne_wire.c; with clang's
 * -fsanitize=fuzzer -DWITH_LIBFUZZER it explores, otherwise its own main sends it 20,000 random inputs. */
#include <string.h>

#include "sne_wire.h"

extern const sne_wire_model served_model;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void discard(void *context, const uint8_t *bytes, size_t n)
{
    volatile uint8_t *sink = (volatile uint8_t *)context;
    size_t i;
    for (i = 0; i < n; i++) {
        *sink ^= bytes[i];
    }
}

static void start(void *context)
{
    (void)context;
}

static uint64_t count(void *context)
{
    (void)context;
    return 1;
}

static void trigger(void *context, int high)
{
    (void)context;
    (void)high;
}

static void rest(void *context, uint32_t milliseconds)
{
    (void)context;
    (void)milliseconds;
}

static int set_rate(void *context, uint32_t baud, int now)
{
    (void)context;
    (void)now;
    return baud % 2u == 0;
}

static int profile_read(void *context, uint32_t index, uint32_t *calls, uint64_t *sum)
{
    (void)context;
    *calls = index;
    *sum = index;
    return index < 100;
}

static void send_framed(sne_wire *wire, const uint8_t *payload, size_t n)
{
    uint8_t frame[600];
    uint32_t crc = 0xffffffffu;
    size_t i, length, block = 0;
    for (i = 0; i < n; i++) {
        int bit;
        crc ^= payload[i];
        for (bit = 0; bit < 8; bit++) {
            crc = crc & 1u ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
    }
    memcpy(frame, payload, n);
    for (i = 0; i < 4; i++) {
        frame[n + i] = (uint8_t)(~crc >> 8 * i);
    }
    length = n + 4;
    sne_wire_receive(wire, 0);
    while (block <= length) {
        size_t run = 0;
        while (run < 254 && block + run < length && frame[block + run]) {
            run++;
        }
        sne_wire_receive(wire, (uint8_t)(run + 1));
        for (i = 0; i < run; i++) {
            sne_wire_receive(wire, frame[block + i]);
        }
        block += run;
        if (run == 254 && block == length) {
            break;
        }
        block += run < 254;
    }
    sne_wire_receive(wire, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t sink = 0;
    sne_platform platform;
    sne_wire wire;
    size_t i = 0;
    memset(&platform, 0, sizeof platform);
    platform.write = discard;
    platform.count_start = start;
    platform.count_read = count;
    platform.context = &sink;
    platform.board = "fuzz";
    platform.counter = SNE_COUNTER_CYCLES;
    platform.trigger = trigger;
    platform.pause = rest;
    platform.set_rate = set_rate;
    platform.image = (const uint8_t *)"program";
    platform.has_image = 1;
    platform.flash_used = 7;
    platform.profile_start = start;
    platform.profile_read = profile_read;
    sne_wire_init(&wire, &served_model, &platform);
    for (i = 0; i < n; i++) {
        sne_wire_receive(&wire, data[i]);
    }
    i = 0;
    while (i < n) {
        size_t length = (size_t)data[i] * 2u + 2u;
        uint8_t payload[514] = {0};
        const size_t have = n - i < length ? n - i : length;
        memcpy(payload, data + i, have);
        payload[0] = (uint8_t)(payload[0] % 17u);
        if (payload[0] == SNE_OP_BENCH) {
            payload[3] = payload[4] = payload[5] = 0; /* few runs */
        }
        if (payload[0] == SNE_OP_PULSE) {
            payload[7] = payload[8] = payload[9] = 0;
        }
        send_framed(&wire, payload, have < 6 ? 6 : have);
        i += have;
    }
    return 0;
}

#ifndef WITH_LIBFUZZER
int main(void)
{
    static uint8_t data[700];
    uint32_t x = 1, round;
    for (round = 0; round < 20000; round++) {
        size_t n = x % sizeof data, i;
        for (i = 0; i < n; i++) {
            x = x * 1664525u + 1013904223u;
            data[i] = (uint8_t)(x >> 24);
            if ((x >> 12 & 3u) == 0) {
                data[i] &= 3; /* small numbers get further */
            }
        }
        (void)LLVMFuzzerTestOneInput(data, n);
    }
    return 0;
}
#endif
