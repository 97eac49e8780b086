/* The self-test of a model (MODEL) on an ATmega2560: how many golden vectors there are and how many came out wrong, over the
 * first UART. Tables lie in RAM, as the compiler places constants; the processor then sleeps, which ends the simulation. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#define QUOTE_(text) #text
#define QUOTE(text) QUOTE_(text)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#include QUOTE(MODEL.h)

static void put(char c)
{
    while (!(UCSR0A & _BV(UDRE0))) {
    }
    UDR0 = (uint8_t)c;
}

static void put_number(uint32_t n)
{
    if (n >= 10) {
        put_number(n / 10);
    }
    put((char)('0' + n % 10));
}

int main(void)
{
    static JOIN(MODEL, _state) state;
    const uint32_t wrong = JOIN(MODEL, _selftest)(&state);
    UCSR0B = _BV(TXEN0);
    put_number(wrong);
    put('/');
    put_number(JOIN(MODEL, _vectors).count);
    put('\n');
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
