"""A page that runs models in a browser: their C as WebAssembly, and what the page says of each.

In: the C of models around the glue in `packages/web/page.c.j2`. Out: what the page's template takes. Needs clang, and
lld for WebAssembly.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..files import workspace
from ..ir.ensemble import QuantEnsemble
from .export import Library, environment
from .folder import write_files

# Without a C library. The stack lies first, so that one that runs out traps rather than eats the tables.
FLAGS = (
    "-std=c99", "-O2", "-ffreestanding", "-nostdlib", "-mbulk-memory", "-Wl,--no-entry", "-Wl,--stack-first",
    "-Wl,--strip-all",
)  # fmt: skip
HINT = (
    "a page wants clang and lld, with WebAssembly: apt-get install clang lld; on a Mac brew install llvm lld, and put "
    "its clang first in PATH"
)
SECONDS = 600


def page_context(library: Library, package: Any, ensembles: Sequence[QuantEnsemble]) -> dict[str, Any]:
    """What the templates of a page take beside the library's own: `module`, base64; `facts`, JSON that may stand in
    HTML; `wasm_flags`. Raises `SneError` where clang is missing, or makes no WebAssembly."""
    context = library.context | {"package": package}
    glue = environment().get_template("packages/web/page.c.j2").render(context)
    files = {f"src/{name}": text for name, text in library.files.items()} | {"page.c": glue}
    facts = [_facts(ensemble, model) for ensemble, model in zip(ensembles, library.context["models"], strict=True)]
    text = json.dumps(facts, ensure_ascii=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return {"module": base64.b64encode(_compiled(files)).decode(), "facts": text, "wasm_flags": " ".join(FLAGS)}


def _compiled(files: dict[str, str]) -> bytes:
    """The module."""
    with workspace() as work:
        write_files(files, work)
        sources = sorted(name for name in files if name.endswith(".c"))
        command = ["clang", "--target=wasm32", *FLAGS, *sources, "-o", "page.wasm"]
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace"
            )
        except FileNotFoundError:
            raise SneError("clang is not installed", HINT) from None
        except subprocess.TimeoutExpired:
            raise SneError(f"clang took longer than {SECONDS} seconds", "export a smaller model") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            said = lines[0].replace(f"{work}/", "") if lines else f"exit code {done.returncode}"
            raise SneError(f"clang makes no WebAssembly: {said}", HINT)
        return (Path(work) / "page.wasm").read_bytes()


def _facts(ensemble: QuantEnsemble, model: dict[str, Any]) -> dict[str, Any]:
    """What the page says of a model, and needs to know."""
    encoder, frontend = ensemble.encoder, model["frontend"]
    timed = encoder.kind in ("events", "frames")
    axes = " x ".join(map(str, encoder.shape))
    takes = f"{axes}, channels last" + (f", at each of {encoder.timesteps} timesteps" if timed else "")
    return {
        "name": ensemble.name,
        "about": f"Input: {encoder.kind}, {takes}. Students: {len(ensemble.students)}. Timesteps: {encoder.timesteps}. "
        f"Fingerprint: {model['fingerprint']}.",
        "classes": list(ensemble.classes),
        "regression": bool(model["regression"]),
        "scale": ensemble.logit_scale,
        "students": len(ensemble.students),
        "vectors": len(ensemble.vectors.inputs),
        "values": encoder.size * (encoder.timesteps if timed else 1),
        "takes": takes,
        "samples": frontend["samples"] if frontend else 0,
        "rate": frontend["rate"] if frontend else 0,
        "recordings": frontend["recordings"] if frontend else 0,
    }
