/* STM32H743 from HSI, 64 MHz, by PLL1 to 400 MHz, which every revision takes at VOS1; and its caches. RM0433, "Power control"
 * (supply configuration, voltage scaling), "FLASH recommended number of wait states", RCC registers; PM0253 for the caches. */
#include "speed.h"

enum { CR = 0x00, CFGR = 0x10, D1CFGR = 0x18, D2CFGR = 0x1c, D3CFGR = 0x20, PLLCKSELR = 0x28, PLLCFGR = 0x2c, PLL1DIVR = 0x30 };
enum { PWR_CSR1 = 0x04, PWR_CR3 = 0x0c, PWR_D3CR = 0x18 };
static const uint32_t RCC = 0x58024400u, PWR = 0x58024800u, FLASH_ACR = 0x52002000u;
static const uint32_t PLL1ON = 1u << 24, PLL1RDY = 1u << 25;
/* Of the core: cache operations and what describes the data cache. */
static const uint32_t CCR = 0xe000ed14u, CCSIDR = 0xe000ed80u, CSSELR = 0xe000ed84u, ICIALLU = 0xe000ef50u, DCISW = 0xe000ef60u;

speed_rates speed = {BOARD_RESET_HZ, BOARD_RESET_HZ};

static inline void barrier(void)
{
    __asm__ volatile("dsb\n isb" ::: "memory");
}

/* Both caches, each invalidated first: what they hold at reset is anything. */
static void start_caches(void)
{
    uint32_t size, set, way;
    barrier();
    *speed_register(ICIALLU) = 0;
    barrier();
    speed_replace(CCR, 0, 1u << 17);
    barrier();
    *speed_register(CSSELR) = 0;
    barrier();
    size = *speed_register(CCSIDR);
    for (set = 0; set <= (size >> 13 & 0x7fffu); set++) {
        for (way = 0; way <= (size >> 3 & 3u); way++) {
            *speed_register(DCISW) = set << 5 | way << 30;
        }
    }
    barrier();
    speed_replace(CCR, 0, 1u << 16);
    barrier();
}

static int raise_voltage(void)
{
    speed_replace(PWR + PWR_CR3, 7, 2); /* the LDO supplies the core; to be written once before the voltage */
    if (!speed_wait(PWR + PWR_CSR1, 1u << 13, 1u << 13)) {
        return 0;
    }
    speed_replace(PWR + PWR_D3CR, 0, 3u << 14); /* VOS1 */
    return speed_wait(PWR + PWR_D3CR, 1u << 13, 1u << 13);
}

void speed_raise(void)
{
    start_caches();
    if (!raise_voltage()) {
        return;
    }
    speed_replace(RCC + PLLCKSELR, 0x3f3u, 4u << 4);      /* HSI / 4: 16 MHz */
    speed_replace(RCC + PLLCFGR, 15u, 3u << 2 | 1u << 16); /* an input of 8 to 16 MHz, the wide VCO, output P */
    *speed_register(RCC + PLL1DIVR) = 1u << 24 | 1u << 16 | 1u << 9 | 49u; /* times 50, P by 2 */
    speed_replace(RCC + CR, 0, PLL1ON);
    if (!speed_wait(RCC + CR, PLL1RDY, PLL1RDY)) {
        return;
    }
    *speed_register(FLASH_ACR) = 2u << 4 | 2u; /* 200 MHz of AXI at VOS1 */
    if (!speed_wait(FLASH_ACR, 15, 2)) {
        return;
    }
    speed_replace(RCC + D1CFGR, 0xf7fu, 4u << 4 | 8u); /* AHB a half of the core, APBs a half of that */
    speed_replace(RCC + D2CFGR, 0x770u, 4u << 8 | 4u << 4);
    speed_replace(RCC + D3CFGR, 0x70u, 4u << 4);
    speed_replace(RCC + CFGR, 7, 3); /* SW: PLL1 */
    if (speed_wait(RCC + CFGR, 7u << 3, 3u << 3)) {
        speed.core_hz = BOARD_CLOCK_HZ;
        speed.uart_hz = BOARD_UART_CLOCK_HZ;
    }
}
