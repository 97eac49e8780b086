/* STM32F4 from HSI, 16 MHz, by the PLL: RM0090 and RM0390, "Reset and clock control" (CR, PLLCFGR, CFGR), "Power controller"
 * (VOS, over-drive) and "Embedded flash" (ACR: latency, prefetch, caches). */
#include "speed.h"

enum { CR = 0x00, PLLCFGR = 0x04, CFGR = 0x08, APB1ENR = 0x40, PWR_CR = 0x00, PWR_CSR = 0x04 };
static const uint32_t RCC = 0x40023800u, PWR = 0x40007000u, FLASH_ACR = 0x40023c00u;
static const uint32_t PWREN = 1u << 28, PLLON = 1u << 24, PLLRDY = 1u << 25;
static const uint32_t ODEN = 1u << 16, ODSWEN = 1u << 17; /* over-drive; ODRDY and ODSWRDY are the same bits of CSR */

speed_rates speed = {BOARD_RESET_HZ, BOARD_RESET_HZ};

static int over_drive(void)
{
    speed_replace(PWR + PWR_CR, 0, ODEN);
    if (!speed_wait(PWR + PWR_CSR, ODEN, ODEN)) {
        return 0;
    }
    speed_replace(PWR + PWR_CR, 0, ODSWEN);
    return speed_wait(PWR + PWR_CSR, ODSWEN, ODSWEN);
}

void speed_raise(void)
{
    speed_replace(RCC + APB1ENR, 0, PWREN);
    speed_replace(PWR + PWR_CR, 0, BOARD_PWR_VOS);
    *speed_register(RCC + PLLCFGR) = BOARD_RCC_PLLCFGR;
    speed_replace(RCC + CR, 0, PLLON);
    if (BOARD_OVER_DRIVE && !over_drive()) {
        return;
    }
    if (!speed_wait(RCC + CR, PLLRDY, PLLRDY)) {
        return;
    }
    *speed_register(FLASH_ACR) = 1u << 10 | 1u << 9 | 1u << 8 | BOARD_FLASH_LATENCY;
    if (!speed_wait(FLASH_ACR, 15, BOARD_FLASH_LATENCY)) {
        return;
    }
    speed_replace(RCC + CFGR, 0xfcf0u, 5u << 10 | 4u << 13); /* APB1 a fourth, APB2 a half, AHB all of it */
    speed_replace(RCC + CFGR, 3, 2);                         /* SW: the PLL */
    if (speed_wait(RCC + CFGR, 3u << 2, 2u << 2)) {
        speed.core_hz = BOARD_CLOCK_HZ;
        speed.uart_hz = BOARD_UART_CLOCK_HZ;
    }
}
