/* Run a rival on every input of inputs.bin; outputs.bin gets its instructions and scores. */
#include "bare_metal.h"
#include "rival.h"

static struct {
    uint32_t input[(INPUT_BYTES + 3) / 4];
    float scores[CLASSES];
} work;

static void infer(void *argument)
{
    (void)argument;
    rival_infer(work.input, work.scores);
}

int program(void)
{
    int inputs = open_input("inputs.bin"), outputs = open_output("outputs.bin");
    if (inputs < 0 || outputs < 0) {
        return 1;
    }
    rival_prepare();
    for (int n = 0; n < SAMPLES; n++) {
        if (!read_file(inputs, work.input, INPUT_BYTES)) {
            return 1;
        }
        uint32_t count = (uint32_t)count_instructions(infer, 0);
        if (!write_file(outputs, &count, sizeof count) || !write_file(outputs, work.scores, sizeof work.scores)) {
            return 1;
        }
    }
    return 0;
}
