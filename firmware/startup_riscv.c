/* From reset to main, and from a fault to a report of it, on a 32-bit RISC-V in machine mode with a PLIC. */
#include "startup.h"
#include "uart.h"

/* The platform-level interrupt controller, as QEMU's machines and SiFive's chips have it: context 0 is the first hart's. */
static const uint32_t PLIC_PRIORITY = 0x0c000000u, PLIC_ENABLE = 0x0c002000u;
static const uint32_t PLIC_THRESHOLD = 0x0c200000u, PLIC_CLAIM = 0x0c200004u;
enum { MIE_EXTERNAL = 1 << 11, MEGABYTE = 1 << 20 };
enum { SNE_FAULT_RISCV = 64 }; /* exceptions are numbered from here on, behind Arm's */

void reset(void);
void trap(void);
void riscv_start(void);
void riscv_interrupt(void);
void fault_report(uint32_t cause, uint32_t lr);

/* The first instructions of the image. Nothing is on the stack yet. */
__attribute__((naked, section(".vectors"), used)) void reset(void)
{
    __asm__ volatile("la sp, link_stack_top\n"
                     "la t0, trap\n"
                     "csrw mtvec, t0\n"
                     "tail riscv_start\n");
}

/* Interrupts keep what a C function may change. A fault's report starts again at the stack's top where this has run out:
 * what lies there is lost anyway. */
__attribute__((naked, aligned(4))) void trap(void)
{
    __asm__ volatile("csrw mscratch, t0\n"
                     "csrr t0, mcause\n"
                     "bgez t0, 1f\n"
                     "csrr t0, mscratch\n"
                     "addi sp, sp, -64\n"
                     "sw ra, 0(sp)\n"
                     "sw t0, 4(sp)\n"
                     "sw t1, 8(sp)\n"
                     "sw t2, 12(sp)\n"
                     "sw a0, 16(sp)\n"
                     "sw a1, 20(sp)\n"
                     "sw a2, 24(sp)\n"
                     "sw a3, 28(sp)\n"
                     "sw a4, 32(sp)\n"
                     "sw a5, 36(sp)\n"
                     "sw a6, 40(sp)\n"
                     "sw a7, 44(sp)\n"
                     "sw t3, 48(sp)\n"
                     "sw t4, 52(sp)\n"
                     "sw t5, 56(sp)\n"
                     "sw t6, 60(sp)\n"
                     "call riscv_interrupt\n"
                     "lw ra, 0(sp)\n"
                     "lw t0, 4(sp)\n"
                     "lw t1, 8(sp)\n"
                     "lw t2, 12(sp)\n"
                     "lw a0, 16(sp)\n"
                     "lw a1, 20(sp)\n"
                     "lw a2, 24(sp)\n"
                     "lw a3, 28(sp)\n"
                     "lw a4, 32(sp)\n"
                     "lw a5, 36(sp)\n"
                     "lw a6, 40(sp)\n"
                     "lw a7, 44(sp)\n"
                     "lw t3, 48(sp)\n"
                     "lw t4, 52(sp)\n"
                     "lw t5, 56(sp)\n"
                     "lw t6, 60(sp)\n"
                     "addi sp, sp, 64\n"
                     "mret\n"
                     "1:\n"
                     "mv a0, t0\n"
                     "mv a1, ra\n"
                     "la t1, link_stack_bottom + 512\n"
                     "bgeu sp, t1, 2f\n"
                     "la sp, link_stack_top\n"
                     "2: tail fault_report\n");
}

/* Make the megabyte below the stack, and with it the RAM, fault: not every bus does so by itself. A core without this
 * protection faults at its registers, and goes on behind them. */
static void guard_stack(void)
{
    const uint32_t bottom = (uint32_t)(uintptr_t)link_stack_bottom;
    const uint32_t locked = 1u << 7, up_to = 1u << 3; /* no access, in machine mode either: from one address to the next */
    __asm__ volatile("la t0, 1f\n"
                     "csrrw t0, mtvec, t0\n"
                     "csrw pmpaddr0, %0\n"
                     "csrw pmpaddr1, %1\n"
                     "csrw pmpcfg0, %2\n"
                     ".balign 4\n"
                     "1: csrw mtvec, t0\n" ::"r"((bottom - MEGABYTE) >> 2),
                     "r"(bottom >> 2), "r"((locked | up_to) << 8)
                     : "t0", "memory");
}

void riscv_start(void)
{
    uint32_t here;
    __asm__ volatile("mv %0, sp" : "=r"(here));
    prepare_memory(here);
    guard_stack();
    (void)main();
    fault_report(0, 0);
}

void port_enable_uart(void)
{
    *core_register(PLIC_ENABLE + 4u * (BOARD_UART_INTERRUPT / 32u)) = 1u << BOARD_UART_INTERRUPT % 32u;
    *core_register(PLIC_PRIORITY + 4u * BOARD_UART_INTERRUPT) = 1;
    *core_register(PLIC_THRESHOLD) = 0; /* last: QEMU looks here, not above, for what has been waiting since before */
    __asm__ volatile("csrs mie, %0" ::"r"(MIE_EXTERNAL) : "memory");
    port_allow_interrupts();
}

/* Every external interrupt is the UART's: it is the only one that is enabled. */
void riscv_interrupt(void)
{
    const uint32_t source = *core_register(PLIC_CLAIM);
    uart_interrupt();
    *core_register(PLIC_CLAIM) = source;
}

/* Once the report has left the UART, which takes milliseconds. RISC-V has no reset that every chip knows: from the first
 * instruction on, with interrupts as they are after one. A fault while the UART's was served has left it claimed. */
static void restart(void)
{
    volatile uint32_t pause;
    for (pause = 0; pause < 1u << 20; pause++) {
    }
    port_hold_interrupts();
    __asm__ volatile("csrw mie, zero" ::: "memory");
    *core_register(PLIC_CLAIM) = BOARD_UART_INTERRUPT;
    reset();
}

void fault_report(uint32_t cause, uint32_t lr)
{
    static sne_fault report; /* not on a stack that may be short */
    report.exception = SNE_FAULT_RISCV + cause;
    report.lr = lr;
    __asm__ volatile("csrr %0, mepc" : "=r"(report.pc));
    __asm__ volatile("csrr %0, mstatus" : "=r"(report.xpsr));
    __asm__ volatile("csrr %0, mtval" : "=r"(report.address));
    uart_init();
    port_fault(&report);
    restart();
}
