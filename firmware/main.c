/* The firmware: a model, served over a serial line. */
#include "port.h"
#include "serial.h"
#include "trigger.h"
#include "uart.h"
#ifdef SNE_PROFILE
#include "profile.h"
#endif

static sne_wire wire;

static void send(void *context, const uint8_t *bytes, size_t n)
{
    size_t i;
    (void)context;
    for (i = 0; i < n; i++) {
        uart_send(bytes[i]);
    }
}

/* How long a host may take to be heard at a rate that it asked for, and how many damaged frames in a row tell that it is gone
 * from there: then the line is as it was at the start. */
enum { PATIENCE = 1000, MOST_DAMAGED = 3 };
static uint32_t baud = BOARD_BAUD;

static int switch_baud(void *context, uint32_t asked, int now)
{
    if (!uart_can(asked)) {
        return 0;
    }
    if (now) {
        timer_pause(context, 3); /* the last bytes are still on their way out */
        uart_set_rate(asked);
        baud = asked;
        timer_start();
    }
    return 1;
}

/* Return to the first rate where nobody is heard at the present one. */
static void fall_back(void)
{
    if (baud == BOARD_BAUD) {
        return;
    }
    if ((wire.unsure && timer_milliseconds() >= PATIENCE) || wire.damaged >= MOST_DAMAGED) {
        uart_set_rate(BOARD_BAUD);
        baud = BOARD_BAUD;
        timer_stop();
    } else if (!wire.unsure) {
        timer_stop();
    }
}

static sne_platform platform = {
    .write = send, .count_start = counter_start, .count_read = counter_read, .stack_mark = stack_mark, .stack_used = stack_used,
    .stack_peak = stack_peak, .board = BOARD_NAME, .flash_size = BOARD_FLASH_BYTES, .ram_size = BOARD_RAM_BYTES,
    .trigger = trigger_set, .pause = timer_pause, .set_rate = switch_baud, .image = (const uint8_t *)link_flash_start,
    .has_image = 1,
#ifdef SNE_PROFILE
    .profile_start = profile_start, .profile_read = profile_read,
#endif
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
    platform.clock_hz = platform.counter == SNE_COUNTER_CYCLES ? CORE_CLOCK_HZ : 0u;
    platform.flash_used = (uint32_t)(uintptr_t)link_flash_used;
    platform.ram_used = (uint32_t)((uintptr_t)link_bss_end - (uintptr_t)link_data_start);
    platform.stack_size = (uint32_t)((uintptr_t)link_stack_top - (uintptr_t)link_stack_bottom);
    sne_wire_init(&wire, served(), &platform);
    trigger_init();
    serial_start();
    for (;;) {
        if (serial_wait()) {
            sne_wire_receive(&wire, serial_next());
        }
        fall_back();
    }
}
