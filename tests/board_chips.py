"""Boards' chips, as much of them as firmware meets from reset to its first reply: a UART, and the registers of clock,
power and flash, which answer as the reference manuals say and refuse what these forbid.

Independent of the firmware: what a register means is written down here once more, and a speed is worked out from it."""

from __future__ import annotations

from collections import deque

from sne_edge.deploy.boards import Board


class Chip:
    """Registers: memory that reads as written, but for what a chip's own class says. `hz`: of the core; `uart_hz`."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.registers: dict[int, int] = {}
        self.sent = bytearray()
        self.waiting: deque[int] = deque()
        self.levels: list[int | None] = [None]  # that the trigger's pin took, one after the other

    def __getitem__(self, address: int) -> int:
        return self.registers.get(address, 0)

    def read(self, address: int) -> int:
        """What a load of a word finds."""
        found = self.uart_read(address - self.board.uart.base)
        return self[address] if found is None else found

    def write(self, address: int, value: int) -> None:
        """What a store of a word does."""
        if not self.uart_write(address - self.board.uart.base, value):
            self.registers[address] = value
            if self.level() != self.levels[-1]:
                self.levels.append(self.level())

    def change(self, address: int, on: int = 0, off: int = 0) -> None:
        """What a store to another register does to this one."""
        self.registers[address] = (self[address] & ~off) | on

    def level(self) -> int | None:
        """Of the trigger's pin; None while the chip does not drive it."""
        raise NotImplementedError

    def take(self) -> int:
        """The received byte that a load of the UART's data finds."""
        return self.waiting.popleft() if self.waiting else 0

    def uart_read(self, offset: int) -> int | None:
        raise NotImplementedError

    def uart_write(self, offset: int, value: int) -> bool:
        raise NotImplementedError

    def hz(self) -> float:
        raise NotImplementedError

    def baud(self) -> float:
        raise NotImplementedError


class Nordic(Chip):
    """nRF52840 and nRF52833."""

    def read(self, address: int) -> int:
        if address == 0x40000100:  # EVENTS_HFCLKSTARTED
            return self[0x40000000]
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        gpio = 0x50000000
        if address in (gpio + 0x508, gpio + 0x518):
            self.change(address - 4, on=value)
        if address in (gpio + 0x50C, gpio + 0x51C):
            self.change(address - 8, off=value)
        super().write(address, value)

    def level(self) -> int | None:
        pin = self.board.trigger.pin
        return self[0x50000504] >> pin & 1 if self[0x50000514] >> pin & 1 else None

    def uart_read(self, offset: int) -> int | None:
        if offset == 0x108:
            return int(bool(self.waiting))
        return self.take() if offset == 0x518 else None

    def uart_write(self, offset: int, value: int) -> bool:
        base = self.board.uart.base
        if offset == 0x51C:
            assert self[base + 0x500] == 4 and self[base + 0x008] == 1, "the UART was not started"
            self.sent.append(value)
            self.registers[base + 0x11C] = 1
        return offset in (0x51C, 0x108)

    def hz(self) -> float:
        assert self[0x40000000] == 1, "the crystal was not started"
        assert self[0x4001E540] == 1, "the flash's cache is off"
        return 64e6

    def baud(self) -> float:
        return self[self.board.uart.base + 0x524] * 16e6 / 2**32


class Stm32(Chip):
    """What STM32s have in common. `bits`: of a status register, those that follow others of a control register."""

    rcc = cfgr = flash = 0
    switch, status, pll = 3, 2, 2  # CFGR: SW's mask, where SWS begins, what means the PLL
    follow: tuple[tuple[int, int, int, int], ...] = ()  # (status, its bit, control, its bit)
    port = port_clock = 0  # port A, and the register whose bit 0 gives it a clock

    def read(self, address: int) -> int:
        found = super().read(address)
        for status, bit, control, by in self.follow:
            if address == status:
                found = (found & ~(1 << bit)) | (self[control] >> by & 1) << bit
        if address == self.cfgr:
            mask = self.switch << self.status
            found = (found & ~mask) | (self[address] & self.switch) << self.status
        return found

    def write(self, address: int, value: int) -> None:
        if address == self.cfgr and value & self.switch == self.pll != self[address] & self.switch:
            self.may_switch()
        if self.port <= address < self.port + 0x400 and not self[self.port_clock] & 1:
            return  # a port without a clock takes nothing
        if address == self.port + 0x18:
            self.change(self.port + 0x14, on=value & 0xFFFF, off=value >> 16)
        super().write(address, value)

    def level(self) -> int | None:
        pin = self.board.trigger.pin
        return self[self.port + 0x14] >> pin & 1 if self[self.port] >> 2 * pin & 3 == 1 else None

    def may_switch(self) -> None:
        raise NotImplementedError

    def on_pll(self) -> bool:
        return self[self.cfgr] & self.switch == self.pll

    def pins_connected(self) -> None:
        """Both pins have their alternate function, and port and UART a clock."""
        known = dict(self.board.constants)
        for kind in ("gpio", "uart"):
            assert self[known[f"{kind}_enable"]] >> known[f"{kind}_enable_bit"] & 1, f"no clock for the {kind}"
        for pin in (known["tx_pin"], known["rx_pin"]):
            assert self[known["gpio_base"]] >> 2 * pin & 3 == 2
            assert self[known["gpio_base"] + 0x20 + pin // 8 * 4] >> pin % 8 * 4 & 15 == known["gpio_function"]


class F4(Stm32):
    """STM32F405, F407, F446: HSI of 16 MHz, USART of the older kind."""

    rcc, cfgr = 0x40023800, 0x40023808
    port, port_clock = 0x40020000, 0x40023830
    follow = (
        (0x40023800, 25, 0x40023800, 24),  # PLLRDY
        (0x40007004, 16, 0x40007000, 16),  # ODRDY
        (0x40007004, 17, 0x40007000, 17),  # ODSWRDY
    )

    def vco(self) -> float:
        value = self[0x40023804]
        assert not value >> 22 & 1 and (value >> 24 & 15) >= 2
        m, n = value & 63, value >> 6 & 511
        assert 1e6 <= 16e6 / m <= 2e6 and 100e6 <= 16e6 / m * n <= 432e6
        return 16e6 / m * n

    def may_switch(self) -> None:
        assert self[self.rcc] >> 24 & 1
        hz = self.vco() / (2 * (self[0x40023804] >> 16 & 3) + 2)
        assert self[0x40023C00] & 15 >= -(-hz // 30e6) - 1, "too few wait states"
        assert hz <= 168e6 or self[0x40007000] >> 16 & 3 == 3, "no over-drive"
        assert self[0x40023840] >> 28 & 1, "the power interface has no clock"

    def hz(self) -> float:
        assert self.on_pll() and self[0x40023C00] & 0x700 == 0x700, "a cache is off"
        return self.vco() / (2 * (self[0x40023804] >> 16 & 3) + 2)

    def bus(self, at: int) -> float:
        chosen = self[self.cfgr] >> at & 7
        return self.hz() / (2 ** (chosen - 3) if chosen >= 4 else 1)

    def uart_read(self, offset: int) -> int | None:
        if offset == 0x00:
            return 1 << 7 | bool(self.waiting) << 5
        return self.take() if offset == 0x04 else None

    def uart_write(self, offset: int, value: int) -> bool:
        if offset == 0x04:
            assert self[self.board.uart.base + 0x0C] & 0x202C == 0x202C
            self.pins_connected()
            self.sent.append(value)
        return offset == 0x04

    def baud(self) -> float:
        assert self.bus(10) <= 45e6 and self.bus(13) <= 90e6
        return self.bus(13 if self.board.uart.base >= 0x40010000 else 10) / self[self.board.uart.base + 0x08]


class Newer(Stm32):
    """STM32s whose USART is of the newer kind."""

    def uart_read(self, offset: int) -> int | None:
        if offset == 0x1C:
            return 1 << 7 | bool(self.waiting) << 5
        return self.take() if offset == 0x24 else None

    def uart_write(self, offset: int, value: int) -> bool:
        base = self.board.uart.base
        if offset == 0x0C:
            assert not self[base] & 1, "the rate cannot be written while the USART is on"
        if offset == 0x28:
            assert self[base] & 0x2D == 0x2D
            self.pins_connected()
            self.sent.append(value)
        return offset == 0x28


class L4(Newer):
    """STM32L4R5: MSI of 4 MHz, LPUART."""

    rcc, cfgr, pll = 0x40021000, 0x40021008, 3
    port, port_clock = 0x48000000, 0x4002104C
    follow = ((0x40021000, 25, 0x40021000, 24),)

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self.registers |= {0x40021000: 0x63, 0x40007000: 0x200, 0x40007080: 0x100, self.port: 0xABFFFFFF}

    def may_switch(self) -> None:
        value = self[0x4002100C]
        assert self[self.rcc] >> 24 & 1 and value & 3 == 1 and value >> 24 & 1
        assert not self[0x40007080] >> 8 & 1 and self[0x40007000] >> 9 & 3 == 1, "no range 1 boost"
        assert self[0x40022000] & 15 >= 5, "too few wait states"
        assert self[self.cfgr] >> 4 & 15 == 8, "AHB is not halved while the speed is raised"

    def hz(self) -> float:
        value = self[0x4002100C]
        assert self.on_pll() and self[self.cfgr] >> 4 & 15 == 0
        vco = 4e6 / ((value >> 4 & 15) + 1) * (value >> 8 & 127)
        assert 64e6 <= vco <= 344e6
        return vco / (2 * (value >> 25 & 3) + 2)

    def pins_connected(self) -> None:
        assert self[0x40007004] >> 9 & 1, "port G has no supply"
        super().pins_connected()

    def baud(self) -> float:
        divisor = self[self.board.uart.base + 0x0C]
        assert 0x300 <= divisor <= 0xFFFFF
        return 256 * self.hz() / divisor


class H7(Newer):
    """STM32H743: HSI of 64 MHz."""

    rcc, cfgr, switch, status, pll = 0x58024400, 0x58024410, 7, 3, 3
    port, port_clock = 0x58020000, 0x580244E0
    follow = ((0x58024400, 25, 0x58024400, 24),)

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self.registers |= {0x5802480C: 0x6, 0x58024818: 0x4000, 0x58024428: 0x02020200, 0x5802442C: 0x01FF0000}
        self.registers[self.port] = 0xABFFFFFF
        self.registers[0xE000ED80] = 0x00FFE019 & ~0x0FF00000 | 0x000FE000  # CCSIDR: 4 ways of 128 lines
        self.cleaned: set[int] = set()

    def read(self, address: int) -> int:
        if address == 0x58024804:  # PWR_CSR1: ACTVOSRDY once the supply is chosen
            return (self[0x5802480C] & 7 == 2) << 13
        if address == 0x58024818:
            return self[address] | (self[0x5802480C] & 7 == 2) << 13
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        if address == 0xE000EF60:
            self.cleaned.add(value)
        if address == 0xE000ED14 and value >> 16 & 1 and not self[address] >> 16 & 1:
            assert len(self.cleaned) == 4 * 128, "the data cache was not invalidated"
        super().write(address, value)

    def may_switch(self) -> None:
        assert self[self.rcc] >> 24 & 1
        assert self[0x58024818] >> 14 & 3 == 3, "not VOS1"
        assert self[0x52002000] == 0x22, "flash of 200 MHz wants 2 wait states and WRHIGHFREQ 2"
        assert self[0x58024418] & 15 == 8, "AHB would be too fast"

    def hz(self) -> float:
        assert self.on_pll() and self[0xE000ED14] >> 16 & 3 == 3, "a cache is off"
        choice, config, dividers = self[0x58024428], self[0x5802442C], self[0x58024430]
        incoming = 64e6 / (choice >> 4 & 63)
        assert choice & 3 == 0 and 8e6 <= incoming <= 16e6 and config >> 2 & 3 == 3 and config >> 16 & 1
        vco = incoming * ((dividers & 511) + 1)
        assert not config >> 1 & 1 and 192e6 <= vco <= 836e6
        return vco / ((dividers >> 9 & 127) + 1)

    def baud(self) -> float:
        assert self[0x5802441C] >> 4 & 7 == 4
        return self.hz() / 2 / 2 / self[self.board.uart.base + 0x0C]


class Rp2(Chip):
    """RP2040 and RP2350: a crystal of 12 MHz."""

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self.known = dict(board.constants)
        places = (0x14, 0x18, 0x20, 0x24) if board.boot == "rp2040" else (0x18, 0x20, 0x30, 0x38)
        self.single_cycle = dict(zip(("set", "clear", "enable", "enable set"), places, strict=True))
        self.registers[self.known["resets_base"]] = 0x1FFFFFFF
        for pin in range(30):
            self.registers[self.known["pads_bank0_base"] + 4 + 4 * pin] = 0x56 if board.boot == "rp2040" else 0x116
        self.registers[self.known["pll_sys_base"] + 4] = 0x2D

    def running(self, part: str) -> bool:
        return not self[self.known["resets_base"]] & self.known[f"reset_{part}"]

    def read(self, address: int) -> int:
        known = self.known
        clocks, xosc, pll = known["clocks_base"], known["xosc_base"], known["pll_sys_base"]
        if address == known["resets_base"] + 8:
            return ~self[known["resets_base"]] & 0x1FFFFFFF
        if address == xosc + 4:
            on = self[xosc] == 0xFABAA0 and self[xosc + 12] * 256 >= 12e6 * 0.001
            return on << 31
        if address == pll:
            return self[pll] | (self.running("pll_sys") and not self[pll + 4] & 0x21) << 31
        if address == clocks + 0x44:
            return 1 << (self[clocks + 0x3C] & 1)
        if address == clocks + 0x38:
            return 1 << (self[clocks + 0x30] & 3)
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        clocks = self.known["clocks_base"]
        if address == clocks + 0x3C and value & 1:
            assert value >> 5 & 7 == 0 and not self[self.known["pll_sys_base"] + 4] & 0x29, "the PLL does not run"
        if address == 0xD0000000 + self.single_cycle["set"]:
            self.change(0xD0000010, on=value)
        if address == 0xD0000000 + self.single_cycle["clear"]:
            self.change(0xD0000010, off=value)
        if address == 0xD0000000 + self.single_cycle["enable set"]:
            self.change(0xD0000000 + self.single_cycle["enable"], on=value)
        super().write(address, value)

    def level(self) -> int | None:
        pin, known = self.board.trigger.pin, self.known
        if not all(self.running(part) for part in ("io_bank0", "pads_bank0")):
            return None
        chosen = self[known["io_bank0_base"] + 4 + 8 * pin] & 31 == 5
        connected = not self[known["pads_bank0_base"] + 4 + 4 * pin] & 0x180  # neither isolated nor off
        driven = self[0xD0000000 + self.single_cycle["enable"]] >> pin & 1
        return self[0xD0000010] >> pin & 1 if chosen and connected and driven else None

    def hz(self) -> float:
        pll = self.known["pll_sys_base"]
        assert self[self.known["clocks_base"] + 0x3C] & 1 and self[self.known["clocks_base"] + 0x30] & 3 == 2
        vco = 12e6 / self[pll] * self[pll + 8]
        assert 750e6 <= vco <= 1600e6
        return vco / (self[pll + 12] >> 16 & 7) / (self[pll + 12] >> 12 & 7)

    def uart_read(self, offset: int) -> int | None:
        if offset == 0x18:
            return (not self.waiting) << 4
        return self.take() if offset == 0x00 else None

    def uart_write(self, offset: int, value: int) -> bool:
        if offset == 0x00:
            assert self[self.board.uart.base + 0x30] == 0x301 and self[self.board.uart.base + 0x2C] == 0x70
            assert all(self.running(part) for part in ("uart0", "io_bank0", "pads_bank0"))
            assert self[self.known["clocks_base"] + 0x48] >> 11 & 1, "clk_peri is off"
            for pin in (self.known["tx_pin"], self.known["rx_pin"]):
                assert self[self.known["io_bank0_base"] + 4 + 8 * pin] & 31 == 2
                assert self[self.known["pads_bank0_base"] + 4 + 4 * pin] & 0x1C0 == 0x40, "the pad is isolated, or off"
            self.sent.append(value)
        return offset == 0x00

    def baud(self) -> float:
        base = self.board.uart.base
        return self.hz() / 16 / (self[base + 0x24] + self[base + 0x28] / 64)


CHIPS: dict[str, type[Chip]] = {"nrf5": Nordic, "stm32f4": F4, "stm32l4": L4, "stm32h7": H7, "rp2": Rp2}
