"""Export: a `QuantEnsemble` and a target become a directory of C that stands alone.

The same model makes the same bytes. Nothing here needs torch or a compiler.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2

from ..codegen import context, graph
from ..errors import SneError, shortened
from ..files import read_file
from ..ir.ensemble import QuantEnsemble
from ..resources import RUNTIME, TEMPLATES, c_templates
from .targets import Target, resolve_target

RUNTIME_SOURCES = ("sne_schedule.c",)
RUNTIME_HEADERS = (
    "sne.h",
    "sne_accumulate.h",
    "sne_accumulate_dsp.h",
    "sne_accumulate_helium.h",
    "sne_accumulate_host.h",
    "sne_accumulate_lanes.h",
    "sne_accumulate_portable.h",
    "sne_accumulate_swar.h",
    "sne_accumulate_thumb1.h",
    "sne_accumulate_thumb2.h",
    "sne_charge_thumb.h",
    "sne_convolve.h",
    "sne_core.h",
    "sne_depthwise.h",
    "sne_direct_helium.h",
    "sne_dsp.h",
    "sne_encode.h",
    "sne_fire.h",
    "sne_fire_dsp.h",
    "sne_fire_helium.h",
    "sne_fire_host.h",
    "sne_fire_last_thumb1.h",
    "sne_fire_last_thumb2.h",
    "sne_fire_steps_thumb1.h",
    "sne_fire_thumb1.h",
    "sne_fire_thumb2.h",
    "sne_fire_wide_thumb2.h",
    "sne_gather.h",
    "sne_kernels.h",
    "sne_layer.h",
    "sne_list.h",
    "sne_list_host.h",
    "sne_list_thumb1.h",
    "sne_list_thumb2.h",
    "sne_model.h",
    "sne_multiply.h",
    "sne_multiply_dsp.h",
    "sne_multiply_helium.h",
    "sne_multiply_portable.h",
    "sne_multiply_thumb1.h",
    "sne_multiply_thumb2.h",
    "sne_neuron.h",
    "sne_nibbles.h",
    "sne_nibbles_dsp.h",
    "sne_nibbles_helium.h",
    "sne_nibbles_thumb2.h",
    "sne_nibbles_word.h",
    "sne_pooling.h",
    "sne_scatter.h",
    "sne_student.h",
    "sne_sweep.h",
    "sne_tables.h",
    "sne_verify.h",
    "sne_weights.h",
    "sne_window_helium.h",
)
TEMPLATE_FILES = {  # template -> what it writes, {} being the model's name
    "model.h.j2": "{}.h",
    "model.c.j2": "{}.c",
    "vectors.c.j2": "{}_vectors.c",
    "selftest.c.j2": "{}_selftest.c",
    "main.c.j2": "main.c",
    "Makefile.j2": "Makefile",
    "README.md.j2": "README.md",
}
FRONTEND_TEMPLATE_FILES = {
    "frontend.h.j2": "{}_frontend.h",
    "frontend.c.j2": "{}_frontend.c",
    "frontend_selftest.c.j2": "{}_frontend_selftest.c",
}
FRONTEND_SOURCE, FRONTEND_HEADER = "sne_logmel.c", "sne_logmel.h"
MANIFEST = "manifest.json"


def export(ensemble: QuantEnsemble, target: str, directory: Path | str) -> Path:
    """Write the C of `ensemble` for the named target to `directory`, and return it.

    An earlier export there is replaced whole; a directory that holds anything else is refused (`SneError`).
    """
    directory = Path(directory)
    files = render(ensemble, resolve_target(target))
    try:
        taken = directory.exists() and not directory.is_dir()
    except OSError as error:
        raise SneError(f"cannot write {shortened(directory)}: {error.strerror}", "name another with -o") from None
    if taken:
        raise SneError(f"{directory} is a file", "name a directory for the export with -o")
    if directory.is_dir() and any(directory.iterdir()):
        try:
            read_manifest(directory)
        except SneError:
            raise SneError(
                f"{directory} holds files that are not an export",
                "name an empty or new directory with -o, or remove it",
            ) from None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            new, old = staging / "new", staging / "old"
            new.mkdir()
            for name, text in files.items():
                (new / name).write_text(text, encoding="utf-8", newline="\n")
            if directory.exists():
                directory.rename(old)
            try:
                new.rename(directory)
            except OSError:
                if old.exists():
                    old.rename(directory)
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise SneError(
            f"cannot write {directory}: {error.strerror}", "check the folder, its permissions and the free space"
        ) from error
    return directory


def render(ensemble: QuantEnsemble, target: Target) -> dict[str, str]:
    """The exported files, name -> text."""
    model = context.build(ensemble)
    graph.extend(model, ensemble)
    name = model["id"]
    sources = [f"{name}.c", f"{name}_selftest.c", f"{name}_vectors.c", *RUNTIME_SOURCES]
    headers = [f"{name}.h", *RUNTIME_HEADERS]
    templates = dict(TEMPLATE_FILES)
    runtime = [*RUNTIME_SOURCES, *RUNTIME_HEADERS]
    if model["graph_functions"]:
        headers.append(graph.RUNTIME_HEADER)
        runtime.append(graph.RUNTIME_HEADER)
    if model["frontend"]:
        sources += [f"{name}_frontend.c", f"{name}_frontend_selftest.c", FRONTEND_SOURCE]
        headers += [f"{name}_frontend.h", FRONTEND_HEADER]
        templates |= FRONTEND_TEMPLATE_FILES
        runtime += [FRONTEND_SOURCE, FRONTEND_HEADER]
    weight_bytes = sum(context.weight_bytes(student) for student in ensemble.students)
    model |= {"target": target, "sources": sources, "headers": headers, "weight_bytes": weight_bytes}
    model["by_output"] = target.kernels == "helium" and any(
        layer["by_output"] for student in model["students"] for layer in student["layers"] if "by_output" in layer
    )
    environment = _environment()
    files = {
        output.format(name): environment.get_template(template).render(model) for template, output in templates.items()
    }
    files |= {file: (RUNTIME / file).read_text(encoding="utf-8") for file in runtime}
    manifest = {
        "name": ensemble.name,
        "identifier": name,
        "fingerprint": model["fingerprint"],
        "target": target.name,
        "runtime_version": model["runtime_version"],
        "sources": sources,
        "headers": headers,
        "input_bytes": ensemble.encoder.input_bytes,
        "state_bytes": model["state"].bytes,
        "stream_bytes": model["state"].stream_bytes if model["streams"] else 0,
        "weight_bytes": weight_bytes,
        "vector_bytes": sum(
            array.nbytes for array in (ensemble.vectors.inputs, ensemble.vectors.logits, ensemble.vectors.spikes)
        ),
    }
    if model["frontend"]:
        manifest["frontend"] = {k: v for k, v in model["frontend"].items() if k not in ("tables", "audio")}
    files[MANIFEST] = json.dumps(manifest, indent=2) + "\n"
    return files


def read_manifest(directory: Path | str) -> dict[str, Any]:
    """The manifest of an exported directory; `SneError` where there is none."""
    path, hint = Path(directory) / MANIFEST, "make one with `sne-edge export MODEL -o DIRECTORY`"
    try:
        manifest = json.loads(read_file(path, 2**20, hint=hint))
    except (SneError, ValueError, RecursionError) as error:
        raise SneError(f"{shortened(directory)} is not an exported model: {shortened(error)}", hint) from None
    if not isinstance(manifest, dict) or not {"identifier", "sources", "fingerprint"} <= manifest.keys():
        raise SneError(f"{path} is incomplete", "export the model again")
    return manifest


def _environment() -> jinja2.Environment:
    environment = c_templates(TEMPLATES)
    environment.filters |= {
        "cint": _c_int,
        "rows": _rows,
        "packed": _packed,
        "starts": _starts,
        "comment": _comment,
        "bytes": bytes.fromhex,
    }
    return environment


def _c_int(value: int) -> str:
    """A C literal; the lowest int32 has none of its own."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"{value}u" if value >= 2**31 else str(value)


def _rows(values: list[int]) -> str:
    lines = (values[i : i + 16] for i in range(0, len(values), 16))
    return ",\n".join("    " + ", ".join(_c_int(value) for value in line) for line in lines)


def _packed(values: list[int], macro: str) -> str:
    """Weights, as sne_weights.h wants them; the macro's name ends in the number of weights that it takes."""
    size = int(macro[-1])
    cells = [f"{macro}({', '.join(map(str, values[i : i + size]))})" for i in range(0, len(values), size)]
    each = 16 // size
    return ",\n".join("    " + ", ".join(cells[i : i + each]) for i in range(0, len(cells), each))


def _starts(rows: tuple[tuple[object, ...], ...]) -> list[int]:
    """Where each row starts in their concatenation, and where the last one ends."""
    return list(accumulate(map(len, rows), initial=0))


def _comment(text: str) -> str:
    """Text of the user's that is safe inside a C comment."""
    return "".join(c if c.isalnum() or c in " _.-+" else "?" for c in text)
