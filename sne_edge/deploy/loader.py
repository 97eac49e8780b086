"""Export of models as data: a blob for each, and a directory of C that loads any of them.

In: models and a target. Out: the directory: NAME.blob, the kernels that these models need, and the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..codegen import graph
from ..files import holding, write_all
from ..ir.ensemble import QuantEnsemble
from ..ir.frontend import LogMel
from ..resources import RUNTIME
from .blob import Kinds, make_blobs
from .export import (
    FRONTEND_HEADER,
    FRONTEND_SOURCE,
    RUNTIME_HEADERS,
    RUNTIME_SOURCES,
    check_apart,
    environment,
    licensed,
)
from .targets import Target, resolve_target

LOADER_SOURCES = (
    *("sne_load.c", "sne_load_chain.c", "sne_load_check.c", "sne_load_places.c", "sne_load_stream.c"),
    "sne_load_tables.c",
)
LOADER_HEADERS = ("sne_blob.h", "sne_load.h", "sne_load_check.h", "sne_load_parts.h", "sne_load_run.h")
GRAPH_FILES = ("sne_load_graph.c", "sne_load_graph_check.c", "sne_load_graph.h", *graph.RUNTIME_HEADERS)
FRONTEND_FILES = ("sne_load_frontend.c", "sne_load_frontend.h", FRONTEND_SOURCE, FRONTEND_HEADER)
TEMPLATE_FILES = {"loader.c.j2": "{}_kernels.c", "loader.h.j2": "{}_kernels.h"}
WIDE_LINE = "#define SNE_WIDE /* an axis has more than 65535 pairs */\n"


def render_loader(ensembles: Sequence[QuantEnsemble], kinds: Kinds, target: Target) -> dict[str, str]:
    """The C that loads these models, and others that need no other kernels: name -> text."""
    single = len(ensembles) == 1
    values = {
        "name": " and ".join(member.name for member in ensembles),
        "single": single,
        "id": ensembles[0].identifier if single else "models",
        "kinds": {name: bits for name, (bits, _) in kinds.layers.items()},
        "tables": {"functions": {name: choices for name, (_, choices) in kinds.layers.items()}},
        "brings": kinds.brings,
        "fires": kinds.fires,
        "by_output": target.kernels == "helium",
        "wide": kinds.wide,
        "wraps": kinds.wraps,
    }
    templates = environment()
    files = {name.format(values["id"]): templates.get_template(t).render(values) for t, name in TEMPLATE_FILES.items()}
    runtime = [*RUNTIME_SOURCES, *RUNTIME_HEADERS, *LOADER_SOURCES, *LOADER_HEADERS]
    runtime += GRAPH_FILES if kinds.fires else ()
    runtime += FRONTEND_FILES if any(isinstance(member.frontend, LogMel) for member in ensembles) else ()
    for file in runtime:
        wide = WIDE_LINE if kinds.wide and file.startswith("sne_load") and file.endswith(".c") else ""
        files[file] = wide + (RUNTIME / file).read_text(encoding="utf-8")
    return {name: licensed(name, text) for name, text in files.items()}


def export_blobs(ensembles: Sequence[QuantEnsemble], target: str, directory: Path) -> list[Path]:
    """Write the blobs of models for the named target, and the C that loads them, to `directory`; returns the blobs.

    Raises `SneError` where names of models meet; then nothing is written.
    """
    check_apart(ensembles)
    chosen = resolve_target(target)
    made, kinds = make_blobs(ensembles, chosen)
    blobs = {f"{member.identifier}.blob": blob for member, blob in zip(ensembles, made, strict=True)}
    texts = render_loader(ensembles, kinds, chosen)
    write_all(directory, {name: holding(data) for name, data in blobs.items()} | {
        name: holding(text.encode()) for name, text in texts.items()
    })  # fmt: skip
    return [directory / name for name in blobs]
