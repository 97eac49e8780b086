"""An export replaces its own files and nobody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sne_edge import export_model, load
from sne_edge.deploy.folder import MANIFEST
from sne_edge.deploy.packages import export_package
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble


@pytest.fixture(scope="module")
def model() -> QuantEnsemble:
    return load("mnist1d")


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_export_leaves_a_users_own_files_where_they_are(model: QuantEnsemble, tmp_path: Path) -> None:
    folder, other = export_model(model, "cortex-m4", tmp_path / "a"), export_model(model, "host", tmp_path / "b")
    own = {
        ".git/HEAD": b"ref: refs/heads/main\n",
        "app/main.c": b"int main(void) { return 0; }\n",
        "notes.txt": b"mine",
    }
    for name, content in own.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "build").mkdir()
    for built in ("build/mnist1d.o", "libmnist1d.a"):
        (folder / built).write_bytes(b"of the earlier export")
    export_model(model, "host", folder)
    assert everything(folder) == everything(other) | own
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_files_that_an_export_no_longer_has_go_with_it(model: QuantEnsemble, tmp_path: Path) -> None:
    folder = export_package([model], "arduino", "cortex-m4", tmp_path / "a")
    before = everything(folder)
    (folder / "mine.txt").write_text("mine")
    export_model(model, "cortex-m4", folder)
    after = everything(folder)
    assert after.keys() == {*json.loads((folder / MANIFEST).read_bytes())["files"], MANIFEST, "mine.txt"}
    assert before.keys() - after.keys() and not any(p.is_dir() and not any(p.iterdir()) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", ["README.md", "examples/main.c"])
def test_a_file_that_was_changed_is_written_over_only_when_that_is_said(
    model: QuantEnsemble, tmp_path: Path, name: str
) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    written = everything(folder)
    (folder / name).write_text("mine\n")
    with pytest.raises(SneError, match=name) as refused:
        export_model(model, "host", folder)
    assert "--force" in refused.value.hint and everything(folder) == written | {name: b"mine\n"}
    export_model(model, "cortex-m4", folder, force=True)
    assert everything(folder) == written


def test_a_file_of_ones_own_that_a_new_export_would_have_is_kept(model: QuantEnsemble, tmp_path: Path) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    (folder / "library.properties").write_text("mine\n")  # which a package for Arduino has
    with pytest.raises(SneError, match=r"library\.properties"):
        export_package([model], "arduino", "cortex-m4", folder)
    assert (folder / "library.properties").read_text() == "mine\n"


def test_a_link_to_an_export_stays_a_link(model: QuantEnsemble, tmp_path: Path) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    export_model(model, "host", link)
    assert link.is_symlink() and json.loads((folder / MANIFEST).read_bytes())["target"] == "host"


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname"])
def test_a_manifest_that_names_files_elsewhere_takes_none_away(model: QuantEnsemble, tmp_path: Path, name: str) -> None:
    folder, outside = export_model(model, "cortex-m4", tmp_path / "a"), tmp_path / "outside.txt"
    outside.write_text("mine")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = "0" * 16
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "mine").write_text("mine")
    with pytest.raises(SneError, match="not an export"):
        export_model(model, "host", folder, force=True)
    assert outside.read_text() == "mine" and Path("/etc/hostname").exists()


def test_an_export_of_before_manifests_named_their_files_is_replaced(model: QuantEnsemble, tmp_path: Path) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    fresh = everything(export_model(model, "host", tmp_path / "b"))
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["files"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "mine").write_text("mine")
    export_model(model, "host", folder)
    assert everything(folder) == fresh | {"mine": b"mine"}


OWN: dict[str, Callable[[Path], None]] = {
    "a library in a folder of its own": lambda f: written(f / "vendor" / "libfoo.a"),
    "a library beside it": lambda f: written(f / "libfoo.a"),
    "a source among what is built": lambda f: written(f / "build" / "mine.c"),
    "an empty folder": lambda f: (f / "later").mkdir(),
    "a link to a folder": lambda f: (f / "link").symlink_to(f.parent / "target", target_is_directory=True),
    "a link that leads nowhere": lambda f: (f / "link").symlink_to("nowhere"),
}


def written(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")


@pytest.mark.parametrize("name", OWN)
def test_one_thing_of_ones_own_alone_is_kept(model: QuantEnsemble, tmp_path: Path, name: str) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    written(tmp_path / "target" / "x")
    before = {p.relative_to(folder) for p in folder.rglob("*")}
    OWN[name](folder)
    own = {p.relative_to(folder) for p in folder.rglob("*")} - before
    export_model(model, "cortex-m4", folder)
    assert own and {p.relative_to(folder) for p in folder.rglob("*")} == before | own


IN_THE_WAY: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder for a file": (lambda f: ((f / "README.md").unlink(), (f / "README.md").mkdir())[1], "is a folder"),
    "a file for a folder": (lambda f: (shutil.rmtree(f / "examples"), written(f / "examples"))[1], "is a file"),
    "a link for a folder": (
        lambda f: ((f / "examples").rename(f.parent / "outside"), (f / "examples").symlink_to(f.parent / "outside"))[1],
        "is a link",
    ),
    "a folder for what is built": (lambda f: (f / "libmnist1d.a").mkdir(), "is a folder"),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_lies_in_the_way_is_told_of_before_anything_is_written(
    model: QuantEnsemble, tmp_path: Path, name: str
) -> None:
    change, told = IN_THE_WAY[name]
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    change(folder)
    before = everything(tmp_path)
    with pytest.raises(SneError, match=told):
        export_model(model, "host", folder, force=True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [*(("sources", v) for v in (5, [{"a": 1}], [1], None)), ("files", {"x" * 5000: "0"}), ("files", {"": "0"})],
)
def test_a_manifest_of_anything_is_no_export(model: QuantEnsemble, tmp_path: Path, key: str, value: Any) -> None:
    folder = export_model(model, "cortex-m4", tmp_path / "a")
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(SneError, match="not an export"):
        export_model(model, "host", folder)
