"""Export of models as data: a blob for each, and a directory of C that loads any of them.

In: models and a target. Out: the directory: NAME.blob, the kernels that these models need, and the runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import holding, write_all
from ..ir.ensemble import QuantEnsemble
from ..resources import RUNTIME
from .blob import kinds_of, make_blob
from .export import RUNTIME_HEADERS, RUNTIME_SOURCES, check_apart, environment, licensed
from .targets import resolve_target

LOADER_SOURCES = ("sne_load.c", "sne_load_check.c", "sne_load_places.c", "sne_load_tables.c")
LOADER_HEADERS = ("sne_blob.h", "sne_load.h", "sne_load_check.h", "sne_load_parts.h")
TEMPLATE_FILES = {"loader.c.j2": "{}_kernels.c", "loader.h.j2": "{}_kernels.h"}


def render_loader(ensembles: Sequence[QuantEnsemble], target: str) -> dict[str, str]:
    """The C that loads these models, and others that need no other kernels: name -> text."""
    kinds = kinds_of(ensembles)
    single = len(ensembles) == 1
    values = {
        "name": " and ".join(member.name for member in ensembles),
        "single": single,
        "id": ensembles[0].identifier if single else "models",
        "kinds": {name: bits for name, (bits, _) in kinds.items()},
        "tables": {"functions": {name: choices for name, (_, choices) in kinds.items()}},
        "by_output": resolve_target(target).kernels == "helium",
    }
    templates = environment()
    files = {name.format(values["id"]): templates.get_template(t).render(values) for t, name in TEMPLATE_FILES.items()}
    for file in (*RUNTIME_SOURCES, *RUNTIME_HEADERS, *LOADER_SOURCES, *LOADER_HEADERS):
        files[file] = (RUNTIME / file).read_text(encoding="utf-8")
    return {name: licensed(name, text) for name, text in files.items()}


def export_blobs(ensembles: Sequence[QuantEnsemble], target: str, directory: Path) -> list[Path]:
    """Write the blobs of models for the named target, and the C that loads them, to `directory`; returns the blobs.

    Raises `SneError` where a model cannot be a blob, or names of models meet; then nothing is written.
    """
    check_apart(ensembles)
    chosen = resolve_target(target)
    blobs = {f"{member.identifier}.blob": make_blob(member, chosen) for member in ensembles}
    texts = render_loader(ensembles, target)
    write_all(directory, {name: holding(data) for name, data in blobs.items()} | {
        name: holding(text.encode()) for name, text in texts.items()
    })  # fmt: skip
    return [directory / name for name in blobs]
