/* The firmware: a model, served over a serial line. */
#include "port.h"
#include "serial.h"
#include "uart.h"

static sne_wire wire;

static void send(void *context, const uint8_t *bytes, size_t n)
{
    size_t i;
    (void)context;
    for (i = 0; i < n; i++) {
        uart_send(bytes[i]);
    }
}

static sne_platform platform = {
    send, counter_start, counter_read, stack_mark, stack_used, stack_peak, NULL, BOARD_NAME, BOARD_FLASH_BYTES, 0,
    BOARD_RAM_BYTES, 0, 0, 0, SNE_COUNTER_NONE,
};

const sne_platform *port_platform(void)
{
    return &platform;
}

void port_fault(const sne_fault *fault)
{
    sne_wire_fault(&platform, fault);
}

#if defined(SNE_INJECT_FAULT) || defined(SNE_INJECT_OVERFLOW)
/* For tests: a model whose students fault. */
static volatile uint32_t depth;

__attribute__((unused)) static void overflow_stack(void *state, const void *input, uint32_t timesteps, int32_t *logits, sne_cost *cost)
{
    volatile uint32_t frame[64];
    frame[depth % 64u] = depth;
    depth++;
    overflow_stack(state, input, timesteps, logits, cost);
    depth += frame[timesteps % 64u]; /* after the call, so that it cannot become a jump */
}

static const sne_wire_model *served(void)
{
    static sne_student students[32];
    static sne_model model;
    static sne_wire_model faulty;
    size_t i;
    for (i = 0; i < served_model.model->n_students; i++) {
#ifdef SNE_INJECT_OVERFLOW
        students[i].run = overflow_stack;
#else
        /* To where no code can be. */
        students[i].run = (void (*)(void *, const void *, uint32_t, int32_t *, sne_cost *))(uintptr_t)0xa0000001u;
#endif
    }
    model = *served_model.model;
    model.students = students;
    faulty = served_model;
    faulty.model = &model;
    return &faulty;
}
#else
static const sne_wire_model *served(void)
{
    return &served_model;
}
#endif

int main(void)
{
    platform.counter = (uint8_t)counter_init();
    platform.clock_hz = platform.counter == SNE_COUNTER_CYCLES ? BOARD_CLOCK_HZ : 0u;
    platform.flash_used = (uint32_t)(uintptr_t)link_flash_used;
    platform.ram_used = (uint32_t)((uintptr_t)link_bss_end - (uintptr_t)link_data_start);
    platform.stack_size = (uint32_t)((uintptr_t)link_stack_top - (uintptr_t)link_stack_bottom);
    sne_wire_init(&wire, served(), &platform);
    serial_start();
    for (;;) {
        sne_wire_receive(&wire, serial_next());
    }
}
