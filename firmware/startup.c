/* From reset to main, and from a fault to a report of it, on a Cortex-M. */
#include "startup.h"
#include "uart.h"

/* Registers of the core, in the system control block. */
enum { VTOR = 0x08, AIRCR = 0x0c, SHCSR = 0x24, CFSR = 0x28, HFSR = 0x2c, MMFAR = 0x34, BFAR = 0x38, CPACR = 0x88 };
enum { MPU_TYPE = 0x90, MPU_CTRL = 0x94, MPU_RNR = 0x98, MPU_RBAR = 0x9c, MPU_RASR = 0xa0 };

static inline volatile uint32_t *control(uint32_t offset)
{
    return core_register(0xe000ed00u + offset);
}

void reset(void);
void fault(void);
void fault_report(const uint32_t *frame);

#define FOUR(handler) handler, handler, handler, handler
#define SIXTEEN(handler) FOUR(handler), FOUR(handler), FOUR(handler), FOUR(handler)

/* Every external interrupt is the UART's: it is the only one that is enabled. */
#if BOARD_UART_INTERRUPT < 64
enum { EXTERNAL = 64 };
#define FURTHER
#else
enum { EXTERNAL = 96 };
#define FURTHER , SIXTEEN(uart_interrupt), SIXTEEN(uart_interrupt)
#endif
static const struct {
    uint32_t *stack;
    void (*handlers[15 + EXTERNAL])(void);
} vectors __attribute__((section(".vectors"), used)) = {
    link_stack_top,
    {reset, fault, FOUR(fault), FOUR(fault), FOUR(fault), systick_interrupt, SIXTEEN(uart_interrupt),
     SIXTEEN(uart_interrupt), SIXTEEN(uart_interrupt), SIXTEEN(uart_interrupt) FURTHER},
};

/* Make the megabyte below the stack, and with it the RAM, fault: not every bus does so by itself. */
static void guard_stack(void)
{
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
    __asm__ volatile("msr msplim, %0" ::"r"(link_stack_bottom));
#elif defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
    const uint32_t megabyte = 1u << 20, execute_never = 1u << 28, size = 19u << 1, enable = 1, default_map = 4;
    if (*control(MPU_TYPE) != 0) {
        *control(MPU_RNR) = 0;
        *control(MPU_RBAR) = (uint32_t)(uintptr_t)link_stack_bottom - megabyte;
        *control(MPU_RASR) = execute_never | size | enable; /* no access */
        *control(MPU_CTRL) = default_map | enable;
        __asm__ volatile("dsb\n isb" ::: "memory"); /* from the next instruction on */
    }
#endif
}

void reset(void)
{
    uint32_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    prepare_memory(here);
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *control(CPACR) |= 0xfu << 20;
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
#if !defined(__ARM_ARCH_6M__)
    *control(VTOR) = (uint32_t)(uintptr_t)&vectors;
    /* Without handlers of their own, faults would be hard faults, in which a stack that has run out locks the core up. */
    *control(SHCSR) |= 7u << 16;
#endif
    guard_stack();
#ifdef BOARD_SPEED
    speed_raise();
#endif
    (void)main();
    fault();
}

void port_enable_uart(void)
{
    const uint32_t nvic_enable = 0xe000e100u;
    *core_register(nvic_enable + 4u * (BOARD_UART_INTERRUPT / 32u)) = 1u << BOARD_UART_INTERRUPT % 32u;
}

/* Where the stack has run out, the report starts again at its top: what lies there is lost anyway. */
__attribute__((naked)) void fault(void)
{
    __asm__ volatile("cpsid i\n"
                     "mov r0, sp\n"
                     "ldr r1, =link_stack_bottom + 512\n"
                     "cmp r0, r1\n"
                     "bhs 1f\n"
                     "ldr r1, =link_stack_top\n"
                     "mov sp, r1\n"
                     "1: ldr r1, =fault_report\n"
                     "bx r1\n"
                     ".ltorg\n");
}

/* Once the report has left the UART, which takes milliseconds. */
static void restart(void)
{
    volatile uint32_t pause;
    for (pause = 0; pause < 1u << 20; pause++) {
    }
    __asm__ volatile("dsb" ::: "memory");
    *control(AIRCR) = 0x05fa0004u; /* its key, SYSRESETREQ */
    __asm__ volatile("dsb" ::: "memory");
    for (;;) {
    }
}

void fault_report(const uint32_t *frame)
{
    static sne_fault report; /* not on a stack that may be short */
    const uint32_t bad_stacking = 1u << 4 | 1u << 12 | 1u << 20; /* CFSR: MSTKERR, STKERR, STKOF */
    uint32_t number;
    __asm__ volatile("mrs %0, ipsr" : "=r"(number));
    report.exception = number & 0x1ffu;
#if !defined(__ARM_ARCH_6M__)
    report.cfsr = *control(CFSR);
    report.hfsr = *control(HFSR);
    if (report.cfsr & 1u << 7) {
        report.address = *control(MMFAR);
    } else if (report.cfsr & 1u << 15) {
        report.address = *control(BFAR);
    }
#endif
    if (frame >= link_stack_bottom && frame + 8 <= link_stack_top && !(report.cfsr & bad_stacking)) {
        report.lr = frame[5];
        report.pc = frame[6];
        report.xpsr = frame[7];
    }
    uart_init();
    port_fault(&report);
    restart();
}
