"""Libraries kept for this computer: found again only for the very same C, flags and compiler, and whole."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from sne_edge import store
from sne_edge.deploy import library
from sne_edge.deploy.host import HostModel
from sne_edge.ir.ensemble import QuantEnsemble


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The definitions of each library that is compiled from now on."""
    calls: list[tuple[str, ...]] = []
    build = library.build_library

    def counted(*arguments: object, **named: object) -> Path:
        calls.append(tuple(named.get("definitions", ())))  # type: ignore[arg-type]
        return build(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(library, "build_library", counted)
    return calls


def results(ensemble: QuantEnsemble, **how: bool) -> tuple[bytes, ...]:
    batch = HostModel(ensemble, **how).run(ensemble.vectors.inputs)
    return batch.logits.tobytes(), batch.spikes.tobytes(), batch.synaptic_ops.tobytes(), batch.neuron_updates.tobytes()


def test_the_same_model_is_compiled_once_and_gives_the_same(tiny: QuantEnsemble, compiled: list[tuple[str, ...]]):
    first = results(tiny)
    assert [results(tiny) for _ in range(3)] == [first] * 3 and compiled == [()]
    assert results(tiny, trace=True) == first and results(tiny, portable=True) == first
    assert compiled == [(), ("SNE_TRACE",), ("SNE_PORTABLE",)]


def test_whatever_decides_a_library_is_in_its_key(
    tiny: QuantEnsemble, compiled: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    results(tiny)
    other = msgspec.structs.replace(tiny, bias=tiny.bias + 1)
    assert (HostModel(other).run(tiny.vectors.inputs).logits == tiny.vectors.logits + 1).all()
    changes: list[Callable[[pytest.MonkeyPatch], None]] = [
        lambda patch: patch.setattr(library, "CFLAGS", (*library.CFLAGS, "-fno-builtin")),
        lambda patch: patch.setattr(library, "_processor", lambda: "another"),
        lambda patch: patch.setenv("CC", "gcc -O1"),
        lambda patch: patch.setattr(library, "render", changed_runtime),
    ]
    for change in changes:
        before = len(compiled)
        with pytest.MonkeyPatch.context() as patch:
            change(patch)
            results(tiny)
            results(tiny)
        assert len(compiled) == before + 1
    results(tiny)
    assert len(compiled) == 2 + len(changes) == 6


def changed_runtime(*arguments: object) -> dict[str, str]:
    from sne_edge.deploy.export import render

    files = render(*arguments)  # type: ignore[arg-type]
    return files | {"sne_kernels.h": files["sne_kernels.h"] + "/* another */\n"}


@pytest.mark.parametrize("damage", [lambda b: b[:1000], lambda b: b"", lambda b: b[:5000] + b"\xff" * 64 + b[5064:]])
def test_a_damaged_library_is_compiled_anew(
    damage: Callable[[bytes], bytes], tiny: QuantEnsemble, compiled: list[tuple[str, ...]]
):
    first = results(tiny)
    (kept,) = library.STORE.path.iterdir()
    whole = kept.read_bytes()
    spoilt = damage(whole)
    kept.unlink()  # this process has it open
    kept.write_bytes(spoilt)
    assert spoilt != whole and results(tiny) == first and len(compiled) == 2
    assert all(path.read_bytes() != spoilt for path in library.STORE.path.iterdir())


def test_a_folder_that_cannot_be_used_only_costs_time(
    tiny: QuantEnsemble, compiled: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    first = results(tiny)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert results(tiny) == results(tiny) == first and len(compiled) == 3


def test_runs_at_the_same_time_do_not_disturb_each_other(tiny: QuantEnsemble):
    want, found = results(tiny), []
    for path in library.STORE.path.iterdir():
        path.unlink()
    threads = [threading.Thread(target=lambda: found.append(results(tiny))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [want] * 4
    assert not [p for p in library.STORE.path.iterdir() if p.suffix == ".tmp"]


def test_a_store_stays_within_its_bound_and_keeps_what_was_used_last():
    small = store.Store("small", ".bin", limit=1000)
    rng = np.random.default_rng(0)
    contents = {f"{n:04x}": rng.bytes(300) for n in range(6)}
    for n, (key, content) in enumerate(contents.items()):
        path = small.keep(key, content)
        assert path is not None
        os.utime(path, (n, n))
        assert small.find("0000") is not None  # in use: stays
    assert {key for key in contents if small.find(key)} == {"0000", "0004", "0005"}
    assert sum(path.stat().st_size for path in small.path.iterdir()) <= 1000
    big = small.keep("ffff", b"x" * 5000)
    assert big is not None and [p.name for p in small.path.iterdir()] == [big.name]


def test_what_died_while_writing_is_cleared_away():
    small = store.Store("small", ".bin", limit=1000)
    small.keep("0000", b"content")
    old, young = small.path / "0001.bin.tmp", small.path / "0002.bin.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, time.time() - 2 * store.LEFT_OVER))
    small.keep("0001", b"more")
    assert not old.exists() and young.exists()
    assert small.find("0000") is not None
