/* One model on an emulated core, compiled in, and loaded from a blob that lies beside it, in flash and then in RAM. Prints whether they say
 * the same for each golden vector, and at each timestep of a stream of these, and the instructions that either takes; `model.h` (the test
 * writes it) names the model. */
#include "bare_metal.h"
#include "model.h"
#include "sne_load.h"
#include "sne_model.h"

extern const sne_kernels KERNELS;

enum { STATE_WORDS = (STATE_BYTES > STREAM_BYTES ? STATE_BYTES : STREAM_BYTES) / 4, MADE_WORDS = 1024 };

static uint32_t compiled_state[STATE_WORDS], loaded_state[STATE_WORDS + MADE_WORDS], input[(INPUT_BYTES + 3) / 4];
#ifdef IN_RAM
static uint32_t copy[sizeof blob / sizeof *blob];
#endif
static sne_loaded loaded;
static sne_result compiled_result, loaded_result;
static sne_policy policy;
static uint16_t events[MODEL_INPUTS];
static uint32_t n_events;

static void run_compiled(void *argument)
{
    (void)argument;
    (void)sne_run(&MODEL, compiled_state, input, &policy, &compiled_result);
}

static void run_loaded(void *argument)
{
    (void)argument;
    (void)sne_run_loaded(&loaded, loaded_state, input, &policy, &loaded_result);
}

static void step_compiled(void *argument)
{
    (void)argument;
    (void)MODEL.stream->step(compiled_state, events, n_events);
}

static void step_loaded(void *argument)
{
    (void)argument;
    (void)sne_step_loaded(&loaded, loaded_state, events, n_events);
}

static void load(void *argument)
{
    *(int *)argument = sne_load(blob, sizeof blob, &KERNELS, &loaded);
}

static int differs(const void *a, const void *b, uint32_t bytes)
{
    const uint8_t *x = (const uint8_t *)a, *y = (const uint8_t *)b;
    while (bytes && *x == *y) {
        x++;
        y++;
        bytes--;
    }
    return bytes != 0;
}

static uint32_t seen(void)
{
    return (uint32_t)(MODEL.n_classes + MODEL.n_spike_layers) * 4u;
}

static void take(uint32_t vector)
{
    uint32_t k;
    for (k = 0; k < INPUT_BYTES; k++) {
        ((uint8_t *)input)[k] = VECTORS.inputs[vector * INPUT_BYTES + k];
    }
}

/* Vectors that the loaded model says something else of; and what they take, all together. */
static uint32_t compare(uint64_t *compiled, uint64_t *by_blob)
{
    uint32_t i, wrong = 0;
    *compiled = *by_blob = 0;
    for (i = 0; i < VECTORS.count; i++) {
        take(i);
        policy.kind = i & 1u ? SNE_POLICY_ALL : SNE_POLICY_DEFAULT;
        *compiled += count_instructions(run_compiled, 0);
        *by_blob += count_instructions(run_loaded, 0);
        wrong += (uint32_t)(differs(compiled_state, loaded_state, seen()) || differs(&compiled_result, &loaded_result, sizeof loaded_result));
    }
    return wrong;
}

/* The vectors as one stream. */
static void stream(void)
{
    const uint32_t words = (MODEL_INPUTS + 31u) / 32u;
    uint64_t compiled = 0, by_blob = 0;
    uint32_t i, t, k, wrong = 0, steps = 0;
    MODEL.stream->reset(compiled_state);
    wrong += sne_reset_loaded(&loaded, loaded_state) != SNE_OK;
    for (i = 0; i < VECTORS.count; i++) {
        take(i);
        for (t = 0; t < MODEL.timesteps; t++, steps++) {
            n_events = 0;
            for (k = 0; k < MODEL_INPUTS; k++) {
                if (input[t * words + k / 32u] >> (k % 32u) & 1u) {
                    events[n_events++] = (uint16_t)k;
                }
            }
            compiled += count_instructions(step_compiled, 0);
            by_blob += count_instructions(step_loaded, 0);
            MODEL.stream->read(compiled_state, &compiled_result);
            wrong += sne_read_loaded(&loaded, loaded_state, &loaded_result) != SNE_OK;
            wrong += (uint32_t)(differs(compiled_state, loaded_state, seen()) || differs(&compiled_result, &loaded_result, sizeof loaded_result));
        }
    }
    print_line("steps", steps);
    print_line("wrong_steps", wrong);
    print_line("compiled_steps", (int64_t)compiled);
    print_line("loaded_steps", (int64_t)by_blob);
}

int program(void)
{
    uint64_t compiled, by_blob;
    int status = 1;
#ifdef IN_RAM
    uint32_t i;
#endif
    print_line("loading", (int64_t)count_instructions(load, &status));
    print_line("status", status);
    print_line("needs", status == SNE_OK && loaded.model.state_bytes <= sizeof loaded_state && loaded.stream_bytes <= sizeof loaded_state);
    print_line("vectors", VECTORS.count);
    print_line("wrong", compare(&compiled, &by_blob));
    print_line("compiled", (int64_t)compiled);
    print_line("loaded", (int64_t)by_blob);
    print_line("made", (int64_t)loaded.model.state_bytes - STATE_BYTES);
    if (MODEL.stream && MODEL.stream->step) {
        stream();
    }
#ifdef IN_RAM
    for (i = 0; i < sizeof blob / sizeof *blob; i++) {
        copy[i] = blob[i];
    }
    status = sne_load(copy, sizeof blob, &KERNELS, &loaded);
    print_line("status_in_ram", status);
    print_line("wrong_in_ram", compare(&compiled, &by_blob));
#endif
    return 0;
}
