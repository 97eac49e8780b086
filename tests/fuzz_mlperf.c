/* Fuzz target: any bytes may arrive on the line of firmware that speaks MLPerf's protocol. Link it with an exported model, its
 * served model and firmware/mlperf.c; with clang's -fsanitize=fuzzer -DWITH_LIBFUZZER it explores, otherwise its own main sends
 * it 20,000 random inputs made of the protocol's words. */
#include <string.h>

#include "mlperf.h"

extern const mlperf_model mlperf_served;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint32_t ready, asked;

/* Every command draws one m-ready. */
static void watch(void *context, const uint8_t *bytes, size_t n)
{
    (void)context;
    ready += n >= 9 && memcmp(bytes + n - 9, "m-ready\r\n", 9) == 0;
}

static uint64_t clock(void *context)
{
    return ++*(uint64_t *)context;
}

/* Not so many inferences that time is all they take. */
static int takes_long(const uint8_t *data, size_t n)
{
    size_t i, digits = 0;
    for (i = 0; i < n; i++) {
        digits = data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
        if (digits > 2) {
            return 1;
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint64_t now;
    static const mlperf_platform platform = {watch, clock, 0, &now, "fuzz"};
    static mlperf line;
    size_t i;
    ready = 0;
    asked = 1; /* at the start */
    mlperf_init(&line, &mlperf_served, &platform);
    for (i = 0; i < n; i++) {
        const size_t left = n - i < 100 ? n - i : 100;
        if (data[i] == 'i' && takes_long(data + i, left)) {
            continue;
        }
        asked += data[i] == '%';
        mlperf_receive(&line, data[i]);
    }
    if (ready != asked) {
        __builtin_trap();
    }
    return 0;
}

#ifndef WITH_LIBFUZZER
int main(void)
{
    static const char *const words[] = {"db ", "load ", "print", "32%", "33%", "infer ", "1 ", "0%", "%", " ", "results%", "name%",
                                        "help%", "profile%", "timestamp%", "00112233445566778899aabbccddeeff%", "f", "-", "999999"};
    static uint8_t data[700];
    uint32_t x = 1, round;
    for (round = 0; round < 20000; round++) {
        size_t n = 0;
        while (n < sizeof data - 40 && (x >> 8 & 31u) != 0) {
            const char *word = words[(x >> 16) % (sizeof words / sizeof *words)];
            memcpy(data + n, word, strlen(word));
            n += strlen(word);
            x = x * 1664525u + 1013904223u;
            if ((x >> 20 & 15u) == 0) {
                data[n++] = (uint8_t)(x >> 24);
            }
        }
        x = x * 1664525u + 1013904223u;
        (void)LLVMFuzzerTestOneInput(data, n);
    }
    return 0;
}
#endif
