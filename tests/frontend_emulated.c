/* The front end on an emulated core: a hash of what it makes of each recording, and the instructions of the first. */
#include "bare_metal.h"
#include "hear_frontend.h"
#include "recordings.h"

static hear_frontend_state state;
static int8_t input[HEAR_FRAMES * HEAR_BANDS];

static void work(void *recording)
{
    (void)hear_frontend(&state, (const int16_t *)recording, HEAR_SAMPLES, input);
}

int program(void)
{
    uint32_t i, j;
    for (i = 0; i < RECORDINGS; i++) {
        const uint64_t count = count_instructions(work, (void *)(uintptr_t)recordings[i]);
        uint32_t hash = 2166136261u; /* FNV-1a */
        for (j = 0; j < sizeof input; j++) {
            hash = (hash ^ (uint8_t)input[j]) * 16777619u;
        }
        print_line("hash", (int64_t)hash);
        if (i == 0) {
            print_line("instructions", (int64_t)count);
        }
    }
    print_line("state", (int64_t)sizeof state);
    return 0;
}
