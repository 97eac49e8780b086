"""Export: a `QuantEnsemble` and a target become a directory of C that stands alone.

The same model makes the same bytes. Nothing here needs torch or a compiler.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2

from ..codegen import context, graph
from ..codegen.footprint import Footprint, footprint
from ..errors import SneError, shortened
from ..ir.ensemble import QuantEnsemble
from ..resources import RUNTIME, TEMPLATES, c_templates
from .folder import MANIFEST, file_digest, install, manifest_of
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
    "sne_accumulate_words.h",
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
    "sne_fire_words.h",
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
    "sne_multiply_words.h",
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
}
QUANTIZE_TEMPLATE_FILES = {"quantize.h.j2": "{}_quantize.h"}
FRONTEND_TEMPLATE_FILES = {
    "frontend.h.j2": "{}_frontend.h",
    "frontend.c.j2": "{}_frontend.c",
    "frontend_selftest.c.j2": "{}_frontend_selftest.c",
}
LIBRARY_TEMPLATE_FILES = {"main.c.j2": "examples/main.c", "Makefile.j2": "Makefile", "README.md.j2": "README.md"}
FRONTEND_SOURCE, FRONTEND_HEADER = "sne_logmel.c", "sne_logmel.h"
STRUCT_HEADERS = ("sne.h", "sne_verify.h", "sne_model.h", "sne_neuron.h", "sne_tables.h", "sne_student.h")
LICENSE = "Apache-2.0"


def export(
    ensemble: QuantEnsemble | Sequence[QuantEnsemble], target: str, directory: Path | str, *, force: bool = False
) -> Path:
    """Write the C of `ensemble`, one or several that share one runtime, for the named target to `directory`, and return
    that.

    An earlier export's files there are replaced; what else was put beside them stays. Refused (`SneError`) are a
    directory that holds no export but something else, files of an export that were changed since, unless `force` says
    that they go, and models whose names in C could meet.
    """
    return install(render(ensemble, resolve_target(target)), Path(directory), force=force)


def render(ensemble: QuantEnsemble | Sequence[QuantEnsemble], target: Target) -> dict[str, str]:
    """The exported files, name -> text."""
    library = make_library(ensemble, target)
    rendered = {
        output: environment().get_template(template).render(library.context)
        for template, output in LIBRARY_TEMPLATE_FILES.items()
    }
    return finished(library.files | rendered, library.manifest)


@dataclass(frozen=True)
class Library:
    """The C of models, before it is laid out. `files`: name -> text; `context`: of the templates of what goes around
    it, a README say; `manifest`: what the directory says of itself."""

    files: dict[str, str]
    context: dict[str, Any]
    manifest: dict[str, Any]


def make_library(ensemble: QuantEnsemble | Sequence[QuantEnsemble], target: Target) -> Library:
    """The models' C and the runtime's. Raises `SneError` where names of two models could meet in C."""
    ensembles = (ensemble,) if isinstance(ensemble, QuantEnsemble) else tuple(ensemble)
    check_apart(ensembles)
    models = [_context(member, target) for member in ensembles]
    files: dict[str, str] = {}
    for model in models:
        for template, output in _templates(model).items():
            files[output.format(model["id"])] = environment().get_template(template).render(model)
    runtime = {*RUNTIME_SOURCES, *RUNTIME_HEADERS}
    if any(model["graph_functions"] for model in models):
        runtime.update(graph.RUNTIME_HEADERS)
    if any(model["frontend"] for model in models):
        runtime |= {FRONTEND_SOURCE, FRONTEND_HEADER}
    files |= {file: (RUNTIME / file).read_text(encoding="utf-8") for file in sorted(runtime)}
    sources = sorted(name for name in files if name.endswith(".c"))
    library = {
        "name": " and ".join(model["name"] for model in models),
        "id": models[0]["id"] if len(models) == 1 else "models",
        "models": models,
        "target": target,
        "sources": [name for name in sources if not name.endswith(("_selftest.c", "_vectors.c"))],
        "checks": [name for name in sources if name.endswith(("_selftest.c", "_vectors.c"))],
        "headers": sorted(name for name in files if name.endswith(".h")),
    }
    several = {"models": [_described(member, model) for member, model in zip(ensembles, models, strict=True)]}
    manifest = {
        "license": LICENSE,
        **(several["models"][0] if len(models) == 1 else several),
        "target": target.name,
        "runtime_version": models[0]["runtime_version"],
        "sources": sources,
        "library": library["sources"],
        "headers": library["headers"],
    }
    return Library(files, library, manifest)


def finished(files: dict[str, str], manifest: dict[str, Any]) -> dict[str, str]:
    """The files of a directory, each with the licence in its first line, and its manifest, which names them all."""
    made = {name: licensed(name, text) for name, text in files.items()}
    manifest = manifest | {"files": {name: file_digest(text.encode()) for name, text in sorted(made.items())}}
    return made | {MANIFEST: json.dumps(manifest, indent=2) + "\n"}


def measure(ensemble: QuantEnsemble, target: Target | None = None) -> Footprint:
    """The bytes of flash that a model takes, by what they are; nothing is written. `target`: some have tables of their
    own, which are larger."""
    found: Footprint = _context(ensemble, target)["footprint"]
    return found


def _context(ensemble: QuantEnsemble, target: Target | None) -> dict[str, Any]:
    """The context of a model's templates."""
    model: dict[str, Any] = context.build(ensemble)
    graph.extend(model, ensemble)
    model["target"] = target
    model["by_output"] = (
        target is not None
        and target.kernels == "helium"
        and any(
            layer["by_output"] for student in model["students"] for layer in student["layers"] if "by_output" in layer
        )
    )
    outline = environment(values=False)
    headers = [*STRUCT_HEADERS, *graph.RUNTIME_HEADERS, *([FRONTEND_HEADER] if model["frontend"] else [])]
    frontend = ""
    if model["frontend"]:
        frontend = outline.get_template("frontend.c.j2").render(model)
        frontend += (RUNTIME / FRONTEND_SOURCE).read_text(encoding="utf-8")
    model["footprint"] = footprint(
        weights=sum(context.weight_bytes(student) for student in ensemble.students),
        model=outline.get_template("model.c.j2").render(model),
        frontend=frontend,
        vectors=outline.get_template("vectors.c.j2").render(model),
        headers=[(RUNTIME / name).read_text(encoding="utf-8") for name in headers],
    )
    if model["frontend"]:
        model["frontend"]["table_bytes"] = model["footprint"].frontend
    return model


def _templates(model: dict[str, Any]) -> dict[str, str]:
    """The templates of a model's own files, and what they write."""
    quantize = QUANTIZE_TEMPLATE_FILES if model["encoder"]["kind"] != "events" else {}
    return TEMPLATE_FILES | quantize | (FRONTEND_TEMPLATE_FILES if model["frontend"] else {})


def _described(ensemble: QuantEnsemble, model: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says of one model."""
    described = {
        "name": ensemble.name,
        "identifier": model["id"],
        "fingerprint": model["fingerprint"],
        "input_bytes": ensemble.encoder.input_bytes,
        "state_bytes": model["state"].bytes,
        "stream_bytes": model["state"].stream_bytes if model["streams"] else 0,
        "flash_bytes": {**asdict(model["footprint"]), "tables": model["footprint"].tables},
    }
    if ensemble.policy.early:  # as a request holds it: five numbers, margins, early stops
        described["policy_bytes"] = 4 * (5 + len(ensemble.students) - 1 + len(ensemble.policy.early))
    if model["frontend"]:
        described["frontend"] = {k: v for k, v in model["frontend"].items() if k not in ("tables", "audio")}
    return described


def check_apart(ensembles: Sequence[QuantEnsemble]) -> None:
    """Raise `SneError` where files, functions or macros of two models could have one name."""
    if not ensembles:
        raise SneError("there is no model to export", "name one or several")
    names = [ensemble.identifier.upper() for ensemble in ensembles]
    for number, name in enumerate(names):
        for other in (*names[:number], *names[number + 1 :]):
            if name == other or name.startswith(f"{other}_"):
                raise SneError(
                    f"names of the models {ensembles[number].name} and {ensembles[names.index(other)].name} meet in C",
                    "export each to a directory of its own, or give one another name when it is made",
                )


def licensed(name: str, text: str) -> str:
    """An exported file, with the licence in its first line."""
    mark = _COMMENTS.get(Path(name).suffix, "# {}")
    return mark.format(f"SPDX-License-Identifier: {LICENSE}") + "\n" + text if mark else text


_COMMENTS = dict.fromkeys((".c", ".h", ".ino"), "/* {} */") | {".rs": "// {}"}
_COMMENTS |= dict.fromkeys((".md", ".html"), "<!-- {} -->")
_COMMENTS |= dict.fromkeys((".json", ".pdsc"), "")  # they have a field for it


def read_manifest(directory: Path | str) -> dict[str, Any]:
    """The manifest of an exported directory of one model; `SneError` where there is none, or several."""
    manifest = manifest_of(directory)
    if "models" in manifest:
        raise SneError(f"{shortened(directory)} holds several models", "name the .sne file of one of them")
    if "package" in manifest:
        kind = shortened(manifest["package"])
        raise SneError(f"{shortened(directory)} is a package for {kind}", "name the .sne file that it was made of")
    return manifest


@cache
def environment(values: bool = True) -> jinja2.Environment:
    """The templates' environment, which keeps what it compiled; without `values`, tables are declared but empty."""
    made = c_templates(TEMPLATES)
    made.filters |= {
        "cint": _c_int,
        "rows": _rows if values else lambda values: "",
        "packed": _packed if values else lambda values, macro: "",
        "starts": _starts,
        "comment": _comment,
        "quoted": _quoted,
        "bytes": bytes.fromhex,
    }
    return made


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


def _quoted(text: str) -> str:
    """A C string of any text: what is no plain character as octal digits of UTF-8."""
    plain = (
        chr(b) if (b < 128 and chr(b).isalnum()) or chr(b) in " _.-+,:;()" else f"\\{b:03o}" for b in text.encode()
    )
    return '"' + "".join(plain) + '"'
