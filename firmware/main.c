/* The firmware: a model, served over a serial line. */
#include "port.h"
#include "uart.h"

/* Received bytes wait here while a request is executed. A full ring drops bytes; the frame's checksum shows it. */
enum { RING = 512 };
static volatile uint8_t ring[RING];
static volatile uint16_t ring_in, ring_out;

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

void uart_interrupt(void)
{
    uint8_t byte;
    while (uart_receive(&byte)) {
        const uint16_t next = (uint16_t)((ring_in + 1u) % RING);
        if (next != ring_out) {
            ring[ring_in] = byte;
            ring_in = next;
        }
    }
}

/* Sleep until a byte arrives. With interrupts held back between the look and the sleep, none is slept through. */
static uint8_t next_byte(void)
{
    uint8_t byte;
    while (ring_out == ring_in) {
        port_hold_interrupts();
        if (ring_out == ring_in) {
            port_wait();
        }
        port_allow_interrupts();
    }
    byte = ring[ring_out];
    ring_out = (uint16_t)((ring_out + 1u) % RING);
    return byte;
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
    uart_init();
    port_enable_uart();
    for (;;) {
        sne_wire_receive(&wire, next_byte());
    }
}
