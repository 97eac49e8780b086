"""How many bytes a model's constants take on a 32-bit processor, told by what they are.

In: generated C, whose values may be left out, and the runtime's headers. Out: a `Footprint`. Every table starts at a
word, so that nothing depends on the order in which a linker places them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

POINTER = 4
VERIFICATION = "sne_layer_info"  # a table that firmware has only where it is verified
SCALARS = {
    "sne_weight": 1,
    "char": 1,
    "int8_t": 1,
    "uint8_t": 1,
    "int16_t": 2,
    "uint16_t": 2,
    "int32_t": 4,
    "uint32_t": 4,
    "size_t": 4,
}
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_STRUCT = re.compile(r"(?:typedef struct|struct (?P<tag>\w+)) \{(?P<fields>[^{}]*)\}(?: (?P<name>\w+))?;")
_TABLE = re.compile(
    r"^(?:static )?const (?P<type>\w+)(?: SNE_WORD_ALIGNED)? (?P<name>\w+)(?:\[(?P<count>\d+)\])?[A-Z_ ]* =",
    re.M,
)
_NEURONS = re.compile(r".*_(threshold|bias|leak|gain)|bias|margins|early|order|routes")


@dataclass(frozen=True)
class Footprint:
    """Bytes of flash, on a 32-bit processor.

    weights      the parameters' own
    padding      what fills rows of weights, neurons' tables and all tables up
    thresholds   biases, thresholds and leaks of neurons; gains, margins, order and routes
    structures   layers, students, which positions meet which, the model's name; a compiler that works a small one into
                 the code stores none
    frontend     tables of the front end, in builds that call it
    vectors      golden vectors, in builds that have them
    """

    weights: int
    padding: int
    thresholds: int
    structures: int
    frontend: int
    vectors: int

    @property
    def tables(self) -> int:
        """All that running the model takes."""
        return self.weights + self.padding + self.thresholds + self.structures


def footprint(weights: int, model: str, frontend: str, vectors: str, headers: Iterable[str]) -> Footprint:
    """Measure a model's files of C, empty where there is none. `weights`: bytes of the parameters alone."""
    structs = struct_bytes(tuple(headers))
    found = dict.fromkeys(("weights", "thresholds", "structures"), 0)
    padding = 0
    for name, kind, size in tables(model, structs):
        what = "structures"
        if name.endswith("_weight"):
            what = "weights"
        elif kind in SCALARS and _NEURONS.fullmatch(name):
            what = "thresholds"
        found[what] += size
        padding += -size % 4
    return Footprint(
        weights=weights,
        padding=padding + found["weights"] - weights,
        thresholds=found["thresholds"],
        structures=found["structures"],
        frontend=_whole(frontend, structs),
        vectors=_whole(vectors, structs),
    )


def _whole(text: str, structs: dict[str, int]) -> int:
    return sum(-(-size // 4) * 4 for _, _, size in tables(text, structs))


def tables(text: str, structs: dict[str, int]) -> Iterable[tuple[str, str, int]]:
    """Name, type and bytes of each constant that C declares."""
    seen = set[str]()
    for found in _TABLE.finditer(_COMMENT.sub("", text)):
        if found["type"] == VERIFICATION or found["name"] in seen:  # of cores' own orders of a table, a build has one
            continue
        seen.add(found["name"])
        each = SCALARS.get(found["type"]) or structs[found["type"]]
        yield found["name"], found["type"], each * int(found["count"] or 1)


@cache
def struct_bytes(headers: tuple[str, ...]) -> dict[str, int]:
    """The size of each struct that the headers define, on a processor with pointers and alignment of four bytes."""
    sizes = {"sne_start": (4, 4), **{name: (size, size) for name, size in SCALARS.items()}}
    text = _COMMENT.sub("", "\n".join(headers))
    for found in _STRUCT.finditer(text):
        place, largest = 0, 1
        for field in found["fields"].split(";"):
            for size, alignment in _members(" ".join(field.split()), sizes):
                place += -place % alignment + size
                largest = max(largest, alignment)
        sizes[found["tag"] or found["name"]] = (place + -place % largest, largest)
    return {name: size for name, (size, _) in sizes.items()}


def _members(field: str, sizes: dict[str, tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Size and alignment of each member that a declaration makes."""
    if not field or field.startswith("#"):
        return
    if "(" in field:  # a function
        yield POINTER, POINTER
        return
    kind, _, names = field.removeprefix("const ").partition(" ")
    for name in names.split(","):
        size, alignment = (POINTER, POINTER) if "*" in name or kind.endswith("_function") else sizes[kind]
        count = re.search(r"\[(\d+)\]", name)
        yield size * int(count[1] if count else 1), alignment
