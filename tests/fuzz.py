"""Fuzzes the parsers of firmware with libFuzzer: `make fuzz`. What it finds is kept in build/fuzz; exit code 1.

In: the fuzz targets of this folder and their corpus. Out: a program for each, run under sanitizers for a bounded time.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import blobs
from models import tiny_ensemble

from sne_edge.deploy.build import render_mlperf_model, render_served_model
from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.loader import export_blobs
from sne_edge.deploy.mlperf import Mlperf, Samples
from sne_edge.resources import FIRMWARE, RUNTIME, WIRE

HERE = Path(__file__).parent
TARGETS = ("wire", "mlperf", "blob")
SANITIZERS = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined")


def library(clang: str) -> Path:
    """Where a clang has libFuzzer, or would have it."""
    done = subprocess.run([clang, "-print-runtime-dir"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()) / f"libclang_rt.fuzzer-{platform.machine()}.a"


def compiler() -> str:
    """The first clang that has it; otherwise `clang`."""
    newer = sorted((path.name for path in Path("/usr/bin").glob("clang-[0-9][0-9]")), reverse=True)
    found = [name for name in ("clang", *newer) if shutil.which(name) and library(name).is_file()]
    return found[0] if found else "clang"


def build(target: str, folder: Path, runtime: Path = RUNTIME) -> Path:
    """A target's program in `folder`, which is made; `runtime`: where the serial protocol's C is taken from."""
    if target == "blob":
        return build_blobs(folder)
    directory = export(tiny_ensemble("events" if target == "wire" else "direct"), "host", folder / "export")
    sources = [directory / name for name in read_manifest(directory)["library"]]
    if target == "wire":
        vectors = [directory / name for name in read_manifest(directory)["sources"] if name.endswith("_vectors.c")]
        sources += [render_served_model(directory, folder), *(runtime / path.name for path in WIRE), *vectors]
    else:
        samples = Mlperf(samples=Samples("uint8", 255))
        sources += [render_mlperf_model(directory, folder, samples), FIRMWARE / "mlperf.c"]
    program = folder / f"fuzz-{target}"
    command = [
        compiler(),
        "-std=c99",
        "-g",
        "-O1",
        *SANITIZERS,
        "-DWITH_LIBFUZZER",
        "-DSNE_PORTABLE",
        "-o",
        str(program),
    ]
    includes = [f"-I{place}" for place in (directory, runtime, RUNTIME, FIRMWARE)]
    subprocess.run([*command, *includes, str(HERE / f"fuzz_{target}.c"), *map(str, sources)], check=True)
    return program


def build_blobs(folder: Path) -> Path:
    """The loader of chains and graphs; their blobs are the corpus, beside the program."""
    models = blobs.graphs(wrapping=True)
    exported = folder / "export"
    found = folder / "corpus-blob"
    found.mkdir(parents=True, exist_ok=True)
    for path in export_blobs(models, "host", exported):
        shutil.copy(path, found)
    program = folder / "fuzz-blob"
    flags = ("-std=c99", "-g", "-O0", *SANITIZERS, "-fwrapv", "-DWITH_LIBFUZZER", "-DSNE_PORTABLE")
    sources = [*map(str, exported.glob("*.c")), str(HERE / "blob_host.c")]
    command = [compiler(), *flags, "-DKERNELS=models_kernels", f"-I{exported}", "-o", str(program), *sources]
    subprocess.run(command, check=True)
    return program


def fuzz(target: str, program: Path, *limits: str) -> subprocess.CompletedProcess[str]:
    """Run it from the stored corpus; new inputs and crashes lie beside the program."""
    found = program.parent / f"corpus-{target}"
    found.mkdir(exist_ok=True)
    longest = 16384 if target == "blob" else 800
    options = [
        f"-max_len={longest}",
        "-timeout=20",
        "-print_final_stats=1",
        f"-artifact_prefix={program.parent}/{target}-",
    ]
    stored = HERE / "corpus" / target
    places = [str(found), *([str(stored)] if stored.is_dir() else [])]
    return subprocess.run([str(program), *options, *limits, *places], capture_output=True, text=True, check=False)


def main() -> int:
    """All targets, each for so many seconds."""
    parser = argparse.ArgumentParser(description="fuzz the firmware's parsers")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="default: all")
    arguments = parser.parse_args()
    failed = 0
    for target in arguments.target or TARGETS:
        folder = HERE.parent / "build" / "fuzz" / target
        folder.mkdir(parents=True, exist_ok=True)
        done = fuzz(target, build(target, folder), f"-max_total_time={arguments.seconds}")
        runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{target}: exit code {done.returncode}, {' '.join(runs)}".replace("stat::", ""))
        if done.returncode:
            failed = 1
            print(done.stderr[-3000:], file=sys.stderr)
    return failed


if __name__ == "__main__":
    os.chdir(HERE)
    sys.exit(main())
