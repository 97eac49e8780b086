"""What boot ROMs want of an image: an RP2040's checksum of its second stage, and UF2 files for drives that flash.

In: bytes. Out: bytes, and C that holds a checksum.
"""

from __future__ import annotations

import struct

UF2_PAYLOAD, UF2_BLOCK = 256, 512
_UF2_START, _UF2_END = (0x0A324655, 0x9E5D5157), 0x0AB16F30  # the format's magic numbers
_UF2_FAMILY = 0x2000  # a flag: the block says which chips it is for
STAGE_BYTES = 252


def boot_checksum(stage: bytes) -> int:
    """The checksum that an RP2040's boot ROM wants behind its second stage of 252 bytes (datasheet 2.8.1.3.1): CRC-32
    from the highest bit on, of 0x04c11db7, starting from ones, as it comes out."""
    if len(stage) != STAGE_BYTES:
        raise ValueError(f"the second stage has {len(stage)} bytes, not {STAGE_BYTES}")
    crc = 0xFFFFFFFF
    for byte in stage:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)
            crc &= 0xFFFFFFFF
    return crc


def checksum_source(stage: bytes) -> str:
    """C that puts the checksum behind the second stage."""
    return (
        "/* The checksum of the second stage, for the boot ROM. */\n#include <stdint.h>\n\n"
        '__attribute__((section(".boot2_checksum"), used)) static const uint32_t checksum = '
        f"0x{boot_checksum(stage):08x}u;\n"
    )


def uf2(image: bytes, address: int, family: int) -> bytes:
    """An image for `address` as a UF2 file for chips of a family: blocks of 512 bytes that hold 256 each, the last
    filled up with zeros."""
    count = -(-len(image) // UF2_PAYLOAD)
    blocks = []
    for number in range(count):
        part = image[number * UF2_PAYLOAD :][:UF2_PAYLOAD].ljust(UF2_PAYLOAD, b"\0")
        where = address + number * UF2_PAYLOAD
        head = struct.pack("<8I", *_UF2_START, _UF2_FAMILY, where, UF2_PAYLOAD, number, count, family)
        blocks.append((head + part).ljust(UF2_BLOCK - 4, b"\0") + struct.pack("<I", _UF2_END))
    return b"".join(blocks)
