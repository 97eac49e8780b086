/* The first 256 bytes of an RP2040's flash, which its boot ROM checks, copies to RAM and runs: set the flash's interface up, then start
 * the program that follows. RP2040 datasheet 2.8.1 (boot sequence, second stage and its checksum) and 4.10.13 (SSI registers). The
 * checksum is added when the image is built. It reads with command 03h, which any flash knows. */
__asm__(".syntax unified\n"
        ".cpu cortex-m0plus\n"
        ".thumb\n"
        ".section .boot2, \"ax\", %progbits\n"
        ".global boot2\n"
        ".thumb_func\n"
        "boot2:\n"
        "ldr r3, =0x18000000\n" /* XIP_SSI */
        "movs r1, #0\n"
        "str r1, [r3, #0x08]\n" /* SSIENR: off while it is set up */
        "movs r1, #4\n"
        "str r1, [r3, #0x14]\n"  /* BAUDR: a fourth of the system's clock, 31 MHz at 125 */
        "ldr r1, =0x001f0300\n" /* CTRLR0: frames of 32 bits, TMOD: send a command, then read */
        "str r1, [r3, #0x00]\n"
        "movs r1, #0\n"
        "str r1, [r3, #0x04]\n"  /* CTRLR1: one word at a time */
        "ldr r1, =0x03000218\n" /* SPI_CTRLR0: command 03h of 8 bits, 24 of address, on one line */
        "ldr r2, =0x180000f4\n"
        "str r1, [r2]\n"
        "movs r1, #1\n"
        "str r1, [r3, #0x08]\n"
        "ldr r0, =0x10000100\n" /* the program: its vectors */
        "ldr r1, =0xe000ed08\n" /* VTOR */
        "str r0, [r1]\n"
        "ldmia r0!, {r1, r2}\n"
        "msr msp, r1\n"
        "bx r2\n"
        ".ltorg\n"
        ".org 252\n"
        ".text\n");
