/* Raspberry Pi RP2040 and RP2350 from their crystal, 12 MHz, by PLL_SYS; and what the UART needs out of reset. RP2040 datasheet 2.14,
 * 2.15 to 2.18; RP2350 datasheet 7.5, 8.1, 8.2, 8.6. */
#include "speed.h"

enum { XOSC_CTRL = 0x00, XOSC_STATUS = 0x04, XOSC_STARTUP = 0x0c, PLL_CS = 0x00, PLL_PWR = 0x04, PLL_FBDIV = 0x08, PLL_PRIM = 0x0c };
enum { REF_CTRL = 0x30, REF_SELECTED = 0x38, SYS_CTRL = 0x3c, SYS_SELECTED = 0x44, PERI_CTRL = 0x48, RESET_DONE = 0x08 };
static const uint32_t POWER_DOWN = 1u << 0, POST_DIVIDERS_DOWN = 1u << 3, VCO_DOWN = 1u << 5;

speed_rates speed = {BOARD_RESET_HZ, BOARD_RESET_HZ};

static int wake_block(uint32_t parts)
{
    speed_replace(BOARD_RESETS_BASE, parts, 0);
    return speed_wait(BOARD_RESETS_BASE + RESET_DONE, parts, parts);
}

static int start_crystal(void)
{
    *speed_register(BOARD_XOSC_BASE + XOSC_CTRL) = 0xaa0;
    *speed_register(BOARD_XOSC_BASE + XOSC_STARTUP) = 47; /* 12 MHz / 256 for a millisecond */
    speed_replace(BOARD_XOSC_BASE + XOSC_CTRL, 0xfffu << 12, 0xfabu << 12);
    return speed_wait(BOARD_XOSC_BASE + XOSC_STATUS, 1u << 31, 1u << 31);
}

static int start_pll(void)
{
    speed_replace(BOARD_RESETS_BASE, 0, BOARD_RESET_PLL_SYS);
    if (!wake_block(BOARD_RESET_PLL_SYS)) {
        return 0;
    }
    *speed_register(BOARD_PLL_SYS_BASE + PLL_CS) = 1;
    *speed_register(BOARD_PLL_SYS_BASE + PLL_FBDIV) = 125; /* 1.5 GHz */
    speed_replace(BOARD_PLL_SYS_BASE + PLL_PWR, POWER_DOWN | VCO_DOWN, 0);
    if (!speed_wait(BOARD_PLL_SYS_BASE + PLL_CS, 1u << 31, 1u << 31)) {
        return 0;
    }
    *speed_register(BOARD_PLL_SYS_BASE + PLL_PRIM) = BOARD_PLL_PRIM;
    speed_replace(BOARD_PLL_SYS_BASE + PLL_PWR, POST_DIVIDERS_DOWN, 0);
    return 1;
}

void speed_raise(void)
{
    const uint32_t clocks = BOARD_CLOCKS_BASE;
    int raised = 0;
    if (start_crystal()) {
        speed_replace(clocks + SYS_CTRL, 1, 0); /* off the PLL while it starts */
        raised = speed_wait(clocks + SYS_SELECTED, 1, 1);
        speed_replace(clocks + REF_CTRL, 3, 2); /* the crystal */
        raised = raised && speed_wait(clocks + REF_SELECTED, 1u << 2, 1u << 2) && start_pll();
        if (raised) {
            speed_replace(clocks + SYS_CTRL, 7u << 5, 0); /* the auxiliary source: PLL_SYS */
            speed_replace(clocks + SYS_CTRL, 0, 1);
            raised = speed_wait(clocks + SYS_SELECTED, 2, 2);
        }
    }
    *speed_register(clocks + PERI_CTRL) = 1u << 11; /* on, from the system's clock */
    (void)wake_block(BOARD_RESET_IO_BANK0 | BOARD_RESET_PADS_BANK0 | BOARD_RESET_UART0);
    if (raised) {
        speed.core_hz = BOARD_CLOCK_HZ;
        speed.uart_hz = BOARD_UART_CLOCK_HZ;
    }
}
