/* Start-up, output and counting for a C program on an emulated core (bare_metal.py builds and runs it). Output and the
 * end go through semihosting, the count through the firmware's own counter. */
#include "bare_metal.h"
#include "port.h"

enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT = 0x18, ADP_STOPPED_APPLICATION_EXIT = 0x20026, ADP_STOPPED_RUNTIME_ERROR = 0x20023 };
enum { OPEN_READ = 1, OPEN_WRITE = 5 }; /* as fopen's "rb" and "wb" */

static uint32_t semihosting(uint32_t operation, uintptr_t argument)
{
#if defined(__riscv)
    register uint32_t a0 __asm__("a0") = operation;
    register uintptr_t a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n" /* all in one page */
                     "slli zero, zero, 0x1f\n"
                     "ebreak\n"
                     "srai zero, zero, 7\n"
                     ".option pop\n"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#else
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#endif
}

static int open_file(const char *name, uintptr_t mode)
{
    uintptr_t arguments[3] = {(uintptr_t)name, mode, 0};
    while (name[arguments[2]]) {
        arguments[2]++;
    }
    return (int)semihosting(SYS_OPEN, (uintptr_t)arguments);
}

int open_input(const char *name)
{
    return open_file(name, OPEN_READ);
}

int open_output(const char *name)
{
    return open_file(name, OPEN_WRITE);
}

int read_file(int file, void *data, uint32_t bytes)
{
    uintptr_t arguments[3] = {(uintptr_t)file, (uintptr_t)data, bytes};
    return semihosting(SYS_READ, (uintptr_t)arguments) == 0;
}

int write_file(int file, const void *data, uint32_t bytes)
{
    uintptr_t arguments[3] = {(uintptr_t)file, (uintptr_t)data, bytes};
    return semihosting(SYS_WRITE, (uintptr_t)arguments) == 0;
}

void print_text(const char *text)
{
    semihosting(SYS_WRITE0, (uintptr_t)text);
}

void print_number(int64_t number)
{
    char digits[21];
    char *at = digits + sizeof digits;
    uint64_t left = number < 0 ? 0u - (uint64_t)number : (uint64_t)number;
    *--at = 0;
    do {
        *--at = (char)('0' + left % 10u);
        left /= 10u;
    } while (left);
    if (number < 0) {
        *--at = '-';
    }
    print_text(at);
}

void print_line(const char *name, int64_t number)
{
    print_text(name);
    print_text(" ");
    print_number(number);
    print_text("\n");
}

uint32_t random_word(void)
{
    static uint32_t x = 1;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

__attribute__((noinline)) static void nothing(void *argument)
{
    __asm__ volatile("" ::"r"(argument));
}

__attribute__((noinline)) static uint64_t measure(void (*work)(void *), void *argument)
{
    counter_start(0);
    work(argument);
    return counter_read(0);
}

uint64_t count_instructions(void (*work)(void *argument), void *argument)
{
    return measure(work, argument) - measure(nothing, argument);
}

/* What the firmware's start-up code asks for. A fault ends the program. */
const sne_platform *port_platform(void)
{
    print_text("fault\n");
    semihosting(SYS_EXIT, ADP_STOPPED_RUNTIME_ERROR);
    return 0;
}

void port_fault(const sne_fault *fault)
{
    sne_wire_fault(port_platform(), fault);
}

void uart_interrupt(void)
{
}

int main(void)
{
    if (counter_init() != SNE_COUNTER_INSTRUCTIONS) {
        print_text("this machine counts no instructions\n");
        semihosting(SYS_EXIT, ADP_STOPPED_RUNTIME_ERROR);
    }
    semihosting(SYS_EXIT, program() == 0 ? ADP_STOPPED_APPLICATION_EXIT : ADP_STOPPED_RUNTIME_ERROR);
    return 0;
}
