/* Where a board has no pin to drive, as emulated ones have none: a word that a debugger can watch. */
#include <stdint.h>

#include "trigger.h"

extern volatile uint32_t trigger_level;
volatile uint32_t trigger_level;

void trigger_init(void)
{
    trigger_level = 0;
}

void trigger_set(void *context, int high)
{
    (void)context;
    trigger_level = high ? 1u : 0u;
}
