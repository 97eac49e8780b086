/* One model on an emulated core twice: compiled in, and loaded from a blob that lies beside it. Prints whether both say the same for
 * each golden vector, and the instructions that either takes; `model.h` (the test writes it) names the model. */
#include "bare_metal.h"
#include "model.h"
#include "sne_load.h"
#include "sne_model.h"

extern const sne_kernels KERNELS;

static uint32_t compiled_state[STATE_BYTES / 4], loaded_state[STATE_BYTES / 4], input[(INPUT_BYTES + 3) / 4];
static sne_loaded loaded;
static sne_result compiled_result, loaded_result;
static sne_policy policy;

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

int program(void)
{
    int status = 1;
    uint32_t i, k, wrong = 0, seen = (uint32_t)(MODEL.n_classes + MODEL.n_spike_layers) * 4u;
    print_line("loading", (int64_t)count_instructions(load, &status));
    print_line("status", status);
    for (i = 0; status == SNE_OK && i < VECTORS.count; i++) {
        for (k = 0; k < INPUT_BYTES; k++) {
            ((uint8_t *)input)[k] = VECTORS.inputs[i * INPUT_BYTES + k];
        }
        policy.kind = i & 1u ? SNE_POLICY_ALL : SNE_POLICY_DEFAULT;
        run_compiled(0);
        run_loaded(0);
        wrong += (uint32_t)(differs(compiled_state, loaded_state, seen) || differs(&compiled_result, &loaded_result, sizeof loaded_result));
    }
    print_line("vectors", i);
    print_line("wrong", wrong);
    policy.kind = SNE_POLICY_ALL;
    print_line("compiled", (int64_t)count_instructions(run_compiled, 0));
    print_line("loaded", (int64_t)count_instructions(run_loaded, 0));
    return 0;
}
