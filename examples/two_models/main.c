/* Two models in one program: one runtime, and one buffer for the states of both, since they run one after the other.
 * On a microcontroller the inputs come from sensors; here they are each model's own golden vectors. */
#include <stdio.h>

#include "fsdd.h"
#include "mnist1d.h"

static union { /* a run needs nothing of the last one: the larger model's memory is enough for both */
    mnist1d_state numbers;
    fsdd_state digits;
} state;

static unsigned long labelled(const char *name, int32_t label, int32_t margin)
{
    printf("%s: label %ld, margin %ld\n", name, (long)label, (long)margin);
    return 1;
}

int main(void)
{
    unsigned long ran = 0, n;
    sne_result result;
    for (n = 0; n < 3; n++) {
        const int8_t *x = (const int8_t *)mnist1d_vectors.inputs + n * MNIST1D_INPUT_BYTES;
        const int8_t *sound = (const int8_t *)fsdd_vectors.inputs + n * FSDD_INPUT_BYTES;
        if (mnist1d_run(&state.numbers, x, NULL, &result) == SNE_OK) {
            ran += labelled("mnist1d", (int32_t)result.label, result.margin);
        }
        if (fsdd_run(&state.digits, sound, NULL, &result) == SNE_OK) {
            ran += labelled("fsdd", (int32_t)result.label, result.margin);
        }
    }
    printf("%lu inferences, %lu bytes of state for both\n", ran, (unsigned long)sizeof state);
    return ran == 6 ? 0 : 1;
}
