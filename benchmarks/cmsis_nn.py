"""A CNN in integers, run by Arm's CMSIS-NN on an emulated core: its instructions, and whether its outputs are ours.

In: a `QuantCnn`, inputs, the path of a CMSIS-NN checkout and of one of CMSIS Core. Out: counts, differences from the
integer reference. A layer has up to two ways: the library's wrapper function, and its matrix multiplication, `direct`
on a map whose patches lie one after another (of one row, padded, or of a kernel of one value), or by `rows` of patches
copied out of an image. Which is cheaper, and right, is measured; the network runs in these.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bare_metal import build_program, emulate

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.errors import SneError
from sne_edge.quantize.cnn import QuantCnn, QuantLayer
from sne_edge.resources import c_templates

HERE = Path(__file__).parent
# What the networks call; the linker drops the rest.
FOLDERS = (
    *("ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions"),
    "TransposeFunctions",  # depthwise convolutions on Helium call it
)
OPTIMISED = ("-O3", "-ffunction-sections", "-fdata-sections")
# Builds of the library with the same outputs; the assembler needs multiplications that the Cortex-M0 lacks.
VARIANTS: dict[str, tuple[str, ...]] = {"C": (), "assembler": ("CMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY",)}
SCRATCH = 4096  # bytes, at least
HELIUM_BLOCK = 4 * 124  # channels whose patches a depthwise convolution copies on Helium, four at a time
SECONDS = 600.0


@dataclass(frozen=True)
class Library:
    """CMSIS-NN, compiled for a board: an archive, and what a program that uses it includes and defines."""

    board: str
    archive: Path
    includes: tuple[Path, ...]
    definitions: tuple[str, ...]


@dataclass(frozen=True)
class Probe:
    """What each way of each layer takes, the mean of its inputs, and on how many of them its outputs differ from the
    reference's."""

    counts: list[dict[str, float]]
    wrong: list[dict[str, int]]

    @property
    def best(self) -> list[str]:
        """Each layer's cheapest way that is right. Raises `SneError` where none is."""
        ways = []
        for number, (counts, wrong) in enumerate(zip(self.counts, self.wrong, strict=True)):
            right = [way for way in counts if wrong[way] == 0]
            if not right:
                raise SneError(f"no kernel of CMSIS-NN computes layer {number}", "compare its version with the table's")
            ways.append(min(right, key=lambda way: counts[way]))
        return ways


@dataclass(frozen=True)
class Run:
    """Instructions of whole inferences int64 [N], and on how many inputs the logits differ from the reference's."""

    counts: np.ndarray
    wrong: int


def check_sources(nn: Path, core: Path) -> tuple[Path, Path]:
    """The folders of CMSIS-NN and of CMSIS Core's headers. Raises `SneError` where they are not there."""
    if not (nn / "Include/arm_nnfunctions.h").is_file():
        raise SneError(f"{nn} is not a checkout of CMSIS-NN", "git clone https://github.com/ARM-software/CMSIS-NN")
    return nn.resolve(), core_headers(core)


def core_headers(core: Path) -> Path:
    """The folder of CMSIS Core's headers in a checkout. Raises `SneError` where they are not there."""
    for folder in (core, core / "Core/Include", core / "CMSIS/Core/Include"):
        if (folder / "cmsis_compiler.h").is_file():
            return folder.resolve()
    raise SneError(
        f"{core} has no headers of CMSIS Core", "git clone https://github.com/ARM-software/CMSIS_6 (or CMSIS_5)"
    )


def version(nn: Path) -> str:
    """What git calls a checkout, or "unknown"."""
    done = subprocess.run(
        ["git", "-C", str(nn), "describe", "--tags", "--always"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def compiler(board: str) -> str:
    """The compiler's first line about itself."""
    cc = resolve_target(resolve_board(board).target).cc
    return subprocess.run([cc, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def build_library(nn: Path, core: Path, board: str, variant: str, work: Path) -> Library:
    """Compile CMSIS-NN's int8 functions for a board, with `OPTIMISED`."""
    nn, core = check_sources(nn, core)
    target = resolve_target(resolve_board(board).target)
    # Code for other number formats than int8 is none of these networks'.
    files = [
        path
        for folder in FOLDERS
        for path in sorted((nn / "Source" / folder).glob("*.c"))
        if not any(kind in path.stem for kind in ("_f16", "_f32", "_s16", "_s4"))
        or path.stem in ("arm_nn_mat_mult_kernel_s8_s16", "arm_nn_mat_mult_kernel_row_offset_s8_s16")
        or path.stem.startswith("arm_q7_to_q15")
        or path.stem.startswith("arm_s8_to_s16")
    ]
    work.mkdir(parents=True, exist_ok=True)
    includes, definitions = (nn / "Include", core), VARIANTS[variant]
    flags = [*(f"-I{path}" for path in includes), *(f"-D{name}" for name in definitions)]
    run_tool([target.cc, *target.cflags, "-std=gnu11", *OPTIMISED, *flags, "-w", "-c", *map(str, files)], work)
    objects = sorted(str(path.name) for path in work.glob("*.o"))
    run_tool([target.ar, "rcs", "libcmsis-nn.a", *objects], work)
    return Library(board, work / "libcmsis-nn.a", includes, definitions)


def probe(net: QuantCnn, inputs: np.ndarray, library: Library, work: Path) -> Probe:
    """Every layer alone, in each way, on encoded inputs int8 [N, height, width, channels]."""
    wanted = net.run(inputs)
    parts: list[tuple[int, str, np.ndarray]] = []
    for number, (layer, out) in enumerate(zip(net.layers, wanted, strict=True)):
        parts += [(number, way, out.reshape(len(inputs), -1)) for way in _ways(layer)]
    fields = [
        (f"{kind}{n}", *form) for n, part in enumerate(parts)
        for kind, form in (("count", ("<u4",)), ("out", ("i1", part[2].shape[1])))
    ]  # fmt: skip
    found = _execute(net, inputs, library, ["wrapper"] * len(net.layers), work, np.dtype(fields), ("PROBE",))
    counts: list[dict[str, float]] = [{} for _ in net.layers]
    wrong: list[dict[str, int]] = [{} for _ in net.layers]
    for n, (number, way, out) in enumerate(parts):
        counts[number][way] = float(found[f"count{n}"].mean())
        wrong[number][way] = int((found[f"out{n}"] != out).any(axis=1).sum())
    return Probe(counts, wrong)


def run(net: QuantCnn, inputs: np.ndarray, library: Library, ways: Sequence[str], work: Path) -> Run:
    """Whole inferences on encoded inputs int8 [N, height, width, channels]."""
    logits = net.run(inputs)[-1].reshape(len(inputs), -1)
    form = np.dtype([("count", "<u4"), ("out", "i1", logits.shape[1])])
    found = _execute(net, inputs, library, ways, work, form, ())
    return Run(found["count"].astype(np.int64), int((found["out"] != logits).any(axis=1).sum()))


def _ways(layer: QuantLayer) -> tuple[str, ...]:
    place = layer.place
    if layer.kind not in ("conv", "dense"):
        return ("wrapper",)
    contiguous = layer.kind == "dense" or place.in_shape[0] == 1 or (place.kernel, place.stride) == ((1, 1), (1, 1))
    return "wrapper", "direct" if contiguous else "rows"


def _execute(
    net: QuantCnn,
    inputs: np.ndarray,
    library: Library,
    ways: Sequence[str],
    work: Path,
    form: np.dtype[Any],
    definitions: tuple[str, ...],
) -> np.ndarray:
    """What the program wrote for each input."""
    work.mkdir(parents=True, exist_ok=True)
    source = work / "network.c"
    source.write_text(source_text(net, len(inputs), ways), encoding="utf-8")
    elf = build_program(
        library.board, [source, library.archive], work, includes=library.includes,
        definitions=(*library.definitions, *definitions),
    )  # fmt: skip
    (work / "inputs.bin").write_bytes(inputs.tobytes())
    emulate(library.board, elf, seconds=SECONDS)
    return np.fromfile(work / "outputs.bin", form, len(inputs))


def source_text(net: QuantCnn, samples: int, ways: Sequence[str]) -> str:
    """The program's C."""
    before = net.layers[0].in_zero
    maps = [_map(net.layers[0].place.in_shape, net.layers[0].place.padding, before)]
    for number, layer in enumerate(net.layers):
        after = net.layers[number + 1].place.padding if number + 1 < len(net.layers) else (0, 0, 0, 0)
        maps.append(_map(layer.place.out_shape, after, layer.out_zero))
    layers = [_layer(number, layer, way) for number, (layer, way) in enumerate(zip(net.layers, ways, strict=True))]
    scratch = max(SCRATCH, *(_scratch(layer) for layer in net.layers))
    template = c_templates(HERE).get_template("cnn_program.c.j2")
    return template.render(layers=layers, maps=maps, samples=samples, scratch=scratch)


def _scratch(layer: QuantLayer) -> int:
    """Bytes that a layer's ways want beside its maps, where they are many."""
    place = layer.place
    taps = place.kernel[0] * place.kernel[1]
    if layer.kind == "depthwise":
        return HELIUM_BLOCK * taps
    return place.out_shape[1] * taps * place.in_shape[2] if "rows" in _ways(layer) else 0


def _map(shape: tuple[int, int, int], padding: tuple[int, int, int, int], zero: int) -> dict[str, int]:
    """Bytes of a map with its padding, which an image has not, of the map alone, and where that starts."""
    height, width, channels = shape
    left, right = padding[2:] if height == 1 else (0, 0)
    start, inner = left * channels, height * width * channels
    return {"bytes": start + inner + right * channels, "start": start, "inner": inner, "zero": zero}


def _layer(number: int, layer: QuantLayer, way: str) -> dict[str, Any]:
    """What the template prints of a layer."""
    place = layer.place
    kernel = place.in_shape[:2] if layer.kind == "dense" else place.kernel
    columns = kernel[0] * kernel[1] * place.in_shape[2]
    return {
        "number": number,
        "kind": layer.kind,
        "way": way,
        "ways": _ways(layer),
        "in_height": place.in_shape[0],
        "in_width": place.in_shape[1],
        "in_channels": place.in_shape[2],
        "out_height": place.out_shape[0],
        "out_width": place.out_shape[1],
        "out_channels": place.out_shape[2],
        "kernel": kernel,
        "stride": place.stride,
        "top": place.padding[0],
        "left": place.padding[2],
        "columns": columns,
        "step": place.stride[1] * place.in_shape[2],
        "in_zero": layer.in_zero,
        "out_zero": layer.out_zero,
    } | {
        name: ",".join(map(str, getattr(layer, name).reshape(-1))) for name in ("weight", "bias", "multiplier", "shift")
    }  # fmt: skip
