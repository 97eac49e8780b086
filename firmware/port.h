/* What the parts of the port share: the core's registers, the linker script's symbols, start-up and counter. */
#ifndef PORT_H
#define PORT_H

#include <stdint.h>

#include "sne_wire.h"

/* Addresses, and sizes as addresses, from the linker script. */
extern uint32_t link_stack_bottom[], link_stack_top[], link_data_start[], link_data_end[], link_data_load[];
extern uint32_t link_bss_start[], link_bss_end[], link_flash_start[], link_flash_used[];

/* What an untouched word of the stack holds. */
enum { STACK_PAINT = 0x5aa5c33c };

static inline volatile uint32_t *core_register(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

/* Hold interrupts back, wait until one is pending, and allow them again. */
#if defined(__riscv)
enum { MSTATUS_MIE = 8 };
static inline void port_hold_interrupts(void)
{
    __asm__ volatile("csrc mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
}

static inline void port_allow_interrupts(void)
{
    __asm__ volatile("csrs mstatus, %0" ::"r"(MSTATUS_MIE) : "memory");
}
#else
static inline void port_hold_interrupts(void)
{
    __asm__ volatile("cpsid i" ::: "memory");
}

static inline void port_allow_interrupts(void)
{
    __asm__ volatile("cpsie i" ::: "memory");
}
#endif

static inline void port_wait(void)
{
    __asm__ volatile("wfi");
}

/* startup.c: let the UART interrupt. */
void port_enable_uart(void);

/* main.c, main_mlperf.c */
extern const sne_platform *port_platform(void);
void port_fault(const sne_fault *fault);
int main(void);

/* serial.c */
void uart_interrupt(void);

/* counter.c: find out what this machine can count, and count it. */
sne_counter counter_init(void);
void counter_start(void *context);
uint64_t counter_read(void *context);
void systick_interrupt(void);
extern volatile uint32_t systick_wraps;
uint64_t riscv_cycles(void);

/* timer.c, on the same SysTick or counter: milliseconds since `timer_start`, or microseconds since `clock_start`. */
void timer_start(void);
uint32_t timer_milliseconds(void);
void timer_stop(void);
void timer_pause(void *context, uint32_t milliseconds);
void clock_start(void);
uint64_t clock_microseconds(void *context);

/* stack.c */
void stack_mark(void *context);
uint32_t stack_used(void *context);
uint32_t stack_peak(void *context);

/* model.c, rendered for the model: what to serve. */
extern const sne_wire_model served_model;

#endif
