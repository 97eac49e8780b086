/* The host as a device: the same protocol code, called in this process. Python loads it through cffi. */
#include <string.h>

#include "sne_wire.h"

extern const sne_wire_model served_model;

void sne_host_open(void);
size_t sne_host_exchange(const uint8_t *received, size_t n, uint8_t *answer, size_t capacity);

static sne_wire wire;
static uint8_t *out;
static size_t out_length, out_capacity;

/* Like a line, drop what the receiver has no room for. */
static void send(void *context, const uint8_t *bytes, size_t n)
{
    (void)context;
    if (n <= out_capacity - out_length) {
        memcpy(out + out_length, bytes, n);
        out_length += n;
    }
}

void sne_host_open(void)
{
    static const sne_platform platform = {.write = send, .board = "host", .counter = SNE_COUNTER_NONE};
    sne_wire_init(&wire, &served_model, &platform);
}

/* Receive `n` bytes; what the device sends meanwhile goes to `answer`. Returns its length. */
size_t sne_host_exchange(const uint8_t *received, size_t n, uint8_t *answer, size_t capacity)
{
    size_t i;
    out = answer;
    out_length = 0;
    out_capacity = capacity;
    for (i = 0; i < n; i++) {
        sne_wire_receive(&wire, received[i]);
    }
    return out_length;
}
