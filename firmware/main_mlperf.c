/* The firmware: a model that MLPerf Tiny's runner drives over a serial line. */
#include "mlperf.h"
#include "port.h"
#include "serial.h"
#include "trigger.h"
#include "uart.h"

extern const mlperf_model mlperf_served;

static mlperf line;
static sne_platform machine; /* what the timer asks of: cycles, or an emulator */

const sne_platform *port_platform(void)
{
    return &machine;
}

static void send(void *context, const uint8_t *bytes, size_t n)
{
    size_t i;
    (void)context;
    for (i = 0; i < n; i++) {
        uart_send(bytes[i]);
    }
}

void port_fault(const sne_fault *fault)
{
    static const char hex[] = "0123456789abcdef";
    char text[] = "e-[fault at 0x........]\r\n";
    int i;
    for (i = 0; i < 8; i++) {
        text[14 + i] = hex[fault->pc >> (28 - 4 * i) & 15u];
    }
    send(0, (const uint8_t *)text, sizeof text - 1);
}

#ifdef MLPERF_ENERGY
/* The pin rests high. The benchmark's monitor wants a low pulse of a microsecond at least. */
static void mark(void *context)
{
    volatile uint32_t loops;
    trigger_set(context, 0);
    for (loops = 0; loops < 1000; loops++) {
    }
    trigger_set(context, 1);
}

static const mlperf_platform platform = {send, 0, mark, 0, BOARD_NAME};
#else
static const mlperf_platform platform = {send, clock_microseconds, 0, 0, BOARD_NAME};
#endif

int main(void)
{
    machine.counter = (uint8_t)counter_init();
    trigger_init();
    clock_start();
    serial_start();
    mlperf_init(&line, &mlperf_served, &platform);
    for (;;) {
        mlperf_receive(&line, serial_next());
    }
}
