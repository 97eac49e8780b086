/* Commands that measure: counts of instructions or cycles, by inference and by layer, and inferences with a pin high. */
#include "sne_wire_parts.h"

enum { PROFILE_BYTES = 12, MOST_PAUSE = 10000 /* milliseconds */ };

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

int sne_wire_bench(sne_wire *wire, const uint8_t *body, size_t n)
{
    const sne_platform *platform = wire->platform;
    uint64_t total = 0, least = UINT64_MAX, most = 0, overhead;
    uint32_t runs, i, stack = 0;
    sne_policy policy;
    int status;
    if (n < 4) {
        return SNE_E_LENGTH;
    }
    runs = sne_wire_get_u32(body);
    if (runs == 0) {
        return SNE_E_ARGUMENT;
    }
    status = sne_wire_parse_policy(wire, body + 4, n - 4, &policy);
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
    status = sne_wire_infer(wire, &policy);
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
    sne_wire_put_u32(wire, runs);
    sne_wire_put_u64(wire, total);
    sne_wire_put_u64(wire, least);
    sne_wire_put_u64(wire, most);
    sne_wire_put_u64(wire, overhead);
    sne_wire_put_u32(wire, stack);
    sne_wire_put_u32(wire, platform->stack_peak ? platform->stack_peak(platform->context) : 0u);
    return SNE_OK;
}

/* `runs` inferences with the pin high, after a pause with it low. */
int sne_wire_pulse(sne_wire *wire, const uint8_t *body, size_t n)
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
    runs = sne_wire_get_u32(body + 4);
    if (sne_wire_get_u32(body) > MOST_PAUSE || runs == 0) {
        return SNE_E_ARGUMENT;
    }
    status = sne_wire_parse_policy(wire, body + 8, n - 8, &policy);
    if (status != SNE_OK) {
        return status;
    }
    overhead = counts ? counter_overhead(platform) : 0;
    platform->pause(platform->context, sne_wire_get_u32(body));
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
    sne_wire_put_u64(wire, total);
    return SNE_OK;
}

/* One inference, and what its layers took, in the order in which they ran first. */
int sne_wire_profile(sne_wire *wire, const uint8_t *body, size_t n)
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
    status = sne_wire_parse_policy(wire, body + 2, n - 2, &policy);
    if (status != SNE_OK) {
        return status;
    }
    platform->profile_start(platform->context);
    status = sne_wire_infer(wire, &policy);
    if (status != SNE_OK) {
        return status;
    }
    for (i = sne_wire_get_u16(body); sne_wire_room(wire) >= PROFILE_BYTES && platform->profile_read(platform->context, i, &calls, &count); i++) {
        sne_wire_put_u32(wire, calls);
        sne_wire_put_u64(wire, count);
    }
    return SNE_OK;
}
