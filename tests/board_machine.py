"""A board that runs an image from reset: a core (Unicorn), memories and, of `board_chips`, the registers."""

from __future__ import annotations

import struct
from collections.abc import Callable

from board_chips import CHIPS
from unicorn import UC_ARCH_ARM, UC_HOOK_MEM_INVALID, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError, arm_const

from sne_edge.deploy.boards import Board

CPUS = {
    "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
WINDOWS = (
    (0x18000000, 0x1000),
    (0x40000000, 0x20000000),
    (0xD0000000, 0x1000),
    (0xE0000000, 0x100000),
)  # registers, and the core's own
MAGIC = 0x0F000000  # where interrupts return to


class Machine:
    """A board that runs an image from reset. `chip`: its registers."""

    def __init__(self, board: Board, image: bytes) -> None:
        assert board.speed is not None
        self.board, self.chip = board, CHIPS[board.speed](board)
        self._failure: BaseException | None = None
        self._core = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._core.ctl_set_cpu_model(CPUS[board.target])
        flash = board.flash_origin & ~0xFFF
        self._core.mem_map(flash, board.flash_bytes + board.flash_origin - flash, 5)  # read, execute
        self._core.mem_write(board.flash_origin, image)
        self._core.mem_map(board.ram_origin, -(-board.ram_bytes // 4096) * 4096)
        self._core.mem_map(MAGIC, 4096)
        for start, size in WINDOWS:
            self._core.mmio_map(start, size, self._read, start, self._write, start)
        self._core.hook_add(UC_HOOK_MEM_INVALID, self._invalid)
        self._start(image)

    def _start(self, image: bytes) -> None:
        """As the boot ROM, or the core itself, does."""
        board, core = self.board, self._core
        if board.boot == "rp2040":  # a copy of the second stage in RAM
            where = board.ram_origin + board.ram_bytes - 256
            core.mem_write(where, image[:256])
            self._pc = where | 1
            self.vectors = board.flash_origin + 256
        else:
            stack, self._pc = struct.unpack_from("<II", image)
            core.reg_write(arm_const.UC_ARM_REG_SP, stack)
            self.vectors = board.flash_origin

    def _read(self, uc: Uc, offset: int, size: int, base: int) -> int:
        return self._guarded(lambda: self.chip.read(base + offset) & 0xFFFFFFFF)

    def _write(self, uc: Uc, offset: int, size: int, value: int, base: int) -> None:
        self._guarded(lambda: self.chip.write(base + offset, value))

    def _guarded(self, call: Callable[[], int | None]) -> int:
        """Exceptions do not pass through the core: keep the first."""
        try:
            return call() or 0
        except BaseException as error:
            self._failure = self._failure or error
            self._core.emu_stop()
            return 0

    def _invalid(self, uc: Uc, access: int, address: int, size: int, value: int, user: object) -> bool:
        pc = uc.reg_read(arm_const.UC_ARM_REG_PC)
        self._failure = self._failure or AssertionError(f"access to {address:#x} at {pc:#x}")
        return False

    def _run(self, start: int, until: int = 0) -> None:
        try:
            self._core.emu_start(start, until, timeout=60_000_000)
        except UcError as error:
            pc = self._core.reg_read(arm_const.UC_ARM_REG_PC)
            raise self._failure or AssertionError(f"{error} at {pc:#x}") from error
        if self._failure:
            raise self._failure

    def run(self) -> None:
        """Until the core waits for an interrupt."""
        self._run(self._pc)
        self._pc = self._core.reg_read(arm_const.UC_ARM_REG_PC) | 1

    def interrupt(self) -> None:
        """Take the UART's interrupt, by the vector that it has, and return to where the core waits."""
        handler = self.vectors + 4 * (16 + self.board.uart.interrupt)
        (address,) = struct.unpack("<I", self._core.mem_read(handler, 4))
        saved = self._core.context_save()
        self._core.reg_write(arm_const.UC_ARM_REG_LR, MAGIC | 1)
        self._run(address | 1, MAGIC)
        self._core.context_restore(saved)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes to the board's UART, a few at a time, and return what it sent by the time that it waits again."""
        self.chip.sent.clear()
        for start in range(0, len(data), 8):
            self.chip.waiting.extend(data[start : start + 8])
            self.interrupt()
            self.run()
        return bytes(self.chip.sent)
