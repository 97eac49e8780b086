/* STM32L4+ from MSI, 4 MHz, by the PLL to 120 MHz: RM0432, "Dynamic voltage scaling management" (range 1 boost: R1MODE clear, AHB
 * halved while the speed is raised), "Independent I/O supply rail" (IOSV, for port G), RCC registers, FLASH_ACR. */
#include "speed.h"

enum { CR = 0x00, CFGR = 0x08, PLLCFGR = 0x0c, APB1ENR1 = 0x58, PWR_CR2 = 0x04, PWR_SR2 = 0x14, PWR_CR5 = 0x80 };
static const uint32_t RCC = 0x40021000u, PWR = 0x40007000u, FLASH_ACR = 0x40022000u;
static const uint32_t PLLON = 1u << 24, PLLRDY = 1u << 25, HPRE = 15u << 4, HALF = 8u << 4;

speed_rates speed = {BOARD_RESET_HZ, BOARD_RESET_HZ};

void speed_raise(void)
{
    volatile uint32_t pause;
    speed_replace(RCC + APB1ENR1, 0, 1u << 28); /* PWREN */
    speed_replace(PWR + PWR_CR2, 0, 1u << 9);   /* IOSV */
    speed_replace(PWR + PWR_CR5, 1u << 8, 0);   /* R1MODE */
    if (!speed_wait(PWR + PWR_SR2, 1u << 10, 0)) { /* VOSF */
        return;
    }
    *speed_register(RCC + PLLCFGR) = 1u << 24 | 60u << 8 | 1u; /* MSI: 4 MHz / 1 * 60 / 2 */
    speed_replace(RCC + CR, 0, PLLON);
    if (!speed_wait(RCC + CR, PLLRDY, PLLRDY)) {
        return;
    }
    *speed_register(FLASH_ACR) = 1u << 10 | 1u << 9 | 1u << 8 | 5u;
    if (!speed_wait(FLASH_ACR, 15, 5)) {
        return;
    }
    speed_replace(RCC + CFGR, HPRE, HALF);
    speed_replace(RCC + CFGR, 3, 3); /* SW: the PLL */
    if (!speed_wait(RCC + CFGR, 3u << 2, 3u << 2)) {
        return;
    }
    for (pause = 0; pause < 60; pause++) { /* more than a microsecond */
    }
    speed_replace(RCC + CFGR, HPRE, 0);
    speed.core_hz = BOARD_CLOCK_HZ;
    speed.uart_hz = BOARD_UART_CLOCK_HZ;
}
