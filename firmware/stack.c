/* How deep the stack grows, found by painting it. */
#include "port.h"

static uint32_t marked; /* address of the stack pointer at the mark */
static uint32_t deepest = UINT32_MAX;

static uint32_t stack_pointer(void)
{
    uint32_t sp;
#if defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(sp));
#else
    __asm__ volatile("mov %0, sp" : "=r"(sp));
#endif
    return sp;
}

/* The lowest address that was written since it was painted. */
static uint32_t low_water(void)
{
    const volatile uint32_t *p = link_stack_bottom;
    while (p < link_stack_top && *p == (uint32_t)STACK_PAINT) {
        p++;
    }
    return (uint32_t)(uintptr_t)p;
}

void stack_mark(void *context)
{
    volatile uint32_t *p;
    const uint32_t low = low_water();
    (void)context;
    deepest = low < deepest ? low : deepest;
    marked = stack_pointer();
    for (p = link_stack_bottom; (uint32_t)(uintptr_t)p < marked; p++) {
        *p = (uint32_t)STACK_PAINT;
    }
}

uint32_t stack_used(void *context)
{
    const uint32_t low = low_water();
    (void)context;
    return low < marked ? marked - low : 0;
}

uint32_t stack_peak(void *context)
{
    const uint32_t low = low_water();
    (void)context;
    deepest = low < deepest ? low : deepest;
    return (uint32_t)(uintptr_t)link_stack_top - deepest;
}
