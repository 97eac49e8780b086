/* Nordic nRF51 and nRF52: the core's speed is fixed; the crystal makes it, and the UART's rate, exact. nRF52 Product
 * Specifications, CLOCK (HFCLKSTART) and NVMC (ICACHECNF: the cache of the flash); nRF51 Reference Manual, CLOCK. */
#include "speed.h"

speed_rates speed = {BOARD_CLOCK_HZ, BOARD_UART_CLOCK_HZ};

static const uint32_t HFCLKSTART = 0x40000000u, HFCLKSTARTED = 0x40000100u;

void speed_raise(void)
{
    *speed_register(HFCLKSTART) = 1;
    (void)speed_wait(HFCLKSTARTED, 1, 1);
#if defined(__ARM_ARCH_7EM__)
    *speed_register(0x4001e540u) = 1;
#endif
}
