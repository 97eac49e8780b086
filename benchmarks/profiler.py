"""Which instructions an inference spends itself on, one by one.

In: a network of the benchmark and a board. Out: how often each instruction ran, by function, beside its disassembly.
QEMU logs every instruction that it executes; see docs/MEASURING.md.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import networks
from bare_metal import BOARDS, build_program, emulate

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.export import export
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.ir.artifact import load, zoo_names
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import size

PROGRAM = """\
#include "{name}.h"
#include "bare_metal.h"

static const uint32_t input[] = {{{words}}};
static {name}_state state;

__attribute__((noinline, noclone)) void profiled(sne_result *result)
{{
    (void){name}_run(&state, (const void *)input, 0, result);
}}

int program(void)
{{
    static sne_result result;
    profiled(&result);
    return 0;
}}
"""


@dataclass(frozen=True)
class Instruction:
    """One of a program's: its address, the function it is in, its text, and how often it ran."""

    address: int
    function: str
    text: str
    count: int


def _image(density: float, threshold: int) -> tuple[QuantEnsemble, bytes]:
    spikes = [round(density * size(networks.IMAGE))] * 2
    return networks.image_network(2, density, threshold), networks.raster(networks.IMAGE, spikes)


def _classifier() -> tuple[QuantEnsemble, bytes]:
    return networks.classifier(128, 10, 10), networks.raster(networks.CLASSIFIER, [78] * 10)


def _model(name: str) -> Callable[[], tuple[QuantEnsemble, bytes]]:
    def make() -> tuple[QuantEnsemble, bytes]:
        ensemble = load(name)
        return ensemble, ensemble.vectors.inputs[0].tobytes()

    return make


# Networks and an input, two timesteps for the convolutions.
WORKLOADS: dict[str, Callable[[], tuple[QuantEnsemble, bytes]]] = {
    "conv-10": lambda: _image(0.1, 200),
    "conv-2": lambda: _image(0.02, 100),
    "classifier": _classifier,
    **{name: _model(name) for name in zoo_names()},
}


def profile(board: str, ensemble: QuantEnsemble, data: bytes) -> list[Instruction]:
    """Every instruction of one inference, by address; those that never ran are left out."""
    target = resolve_target(resolve_board(board).target)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        work = Path(folder)
        directory = export(ensemble, target.name, work / "model")
        name = ensemble.identifier
        words = ", ".join(f"0x{int.from_bytes(data[i : i + 4], 'little'):08x}" for i in range(0, len(data), 4))
        program = work / "program.c"
        program.write_text(PROGRAM.format(name=name, words=words), encoding="utf-8", newline="\n")
        elf = build_program(board, [program, directory / f"{name}.c"], work, includes=[directory])
        listing = run_tool([f"{target.prefix}objdump", "-d", "--no-show-raw-insn", str(elf)], work)
        log = work / "log"
        emulate(board, elf, "-singlestep", "-d", "exec,nochain", "-D", str(log), seconds=300)
        counts = _counts(log, *_inference(listing))
    return [
        Instruction(address, function, text, counts[address])
        for address, function, text in _disassembly(listing)
        if counts[address]
    ]


def _disassembly(listing: str) -> list[tuple[int, str, str]]:
    """(address, function, text) of each instruction in what objdump prints."""
    rows, function = [], ""
    for line in listing.splitlines():
        if start := re.match(r"[0-9a-f]+ <(.+)>:", line):
            function = start[1]
        elif code := re.match(r"\s*([0-9a-f]+):\s+(.+)", line):
            rows.append((int(code[1], 16), function, code[2].replace("\t", " ")))
    return rows


def _inference(listing: str) -> tuple[int, int]:
    """Where the inference begins, and where it returns to: the call of `profiled` and what follows it."""
    rows = _disassembly(listing)
    begin = next(address for address, function, _ in rows if function == "profiled")
    call = next(i for i, (_, function, text) in enumerate(rows) if function == "program" and "<profiled>" in text)
    return begin, rows[call + 1][0]


def _counts(log: Path, begin: int, end: int) -> Counter[int]:
    """How often each address occurs in QEMU's log between two of them."""
    counts: Counter[int] = Counter()
    inside = False
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not (found := re.search(r"\[[0-9a-f]+/([0-9a-f]+)/", line)):
                continue
            address = int(found[1], 16)
            inside = (inside or address == begin) and address != end
            counts[address] += inside
    return counts


def report(instructions: Sequence[Instruction], least: float) -> str:
    """Totals by function, most first, and the instructions that take at least `least` of all that ran."""
    total = sum(instruction.count for instruction in instructions)
    functions: Counter[str] = Counter()
    for instruction in instructions:
        functions[instruction.function] += instruction.count
    lines = [f"{total:>10,}  instructions"]
    lines += [f"{count:>10,}  {function}" for function, count in functions.most_common()]
    shown = [instruction for instruction in instructions if instruction.count >= least * total]
    before = ""
    for instruction in shown:
        if instruction.function != before:
            before = instruction.function
            lines += ["", f"{before}:"]
        lines.append(f"{instruction.count:>10,}  {instruction.address:6x}  {instruction.text}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=list(WORKLOADS))
    parser.add_argument("--board", choices=BOARDS, default="mps2-an386")
    parser.add_argument(
        "--least", type=float, default=0.001, metavar="SHARE", help="show instructions from this share on (0.001)"
    )
    options = parser.parse_args(arguments)
    print(report(profile(options.board, *WORKLOADS[options.network]()), options.least))
    return 0


if __name__ == "__main__":
    sys.exit(main())
