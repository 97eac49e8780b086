"""An export replaces its own files and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sne_edge import export_model, load
from sne_edge.deploy.export import MANIFEST
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
    for built in ("build/old.o", "libmnist1d.a"):
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
