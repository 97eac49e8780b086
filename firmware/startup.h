/* What start-up code does on every core: memory as C expects it. */
#ifndef STARTUP_H
#define STARTUP_H

#include "port.h"

/* Paint the stack below `here`, fill in the initialised data and clear the rest. Volatile pointers, because before main the
 * compiler must not turn these loops into calls of memcpy and memset, whose own stack is being painted. */
static inline __attribute__((always_inline)) void prepare_memory(uint32_t here)
{
    volatile uint32_t *to;
    const volatile uint32_t *from = link_data_load;
    for (to = link_stack_bottom; (uint32_t)(uintptr_t)to < here; to++) {
        *to = (uint32_t)STACK_PAINT;
    }
    for (to = link_data_start; to < link_data_end; to++) {
        *to = *from++;
    }
    for (to = link_bss_start; to < link_bss_end; to++) {
        *to = 0;
    }
}

#endif
