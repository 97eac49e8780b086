"""Graphs from a file: the same bytes again, and one clear error for whatever else may stand there."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_strategies import random_graph_ensemble
from safetensors.numpy import save as save_tensors

from sne_edge.errors import SneError
from sne_edge.ir import artifact
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph


@pytest.fixture(scope="module")
def model() -> QuantEnsemble:
    """One graph of several populations: it recurs, is late, pools and has currents."""
    for seed in range(1000):
        made = random_graph_ensemble(random.Random(seed), kind="rate", students=1, chains=False)
        graph = made.students[0].graph
        assert isinstance(graph, Graph)
        projections = [q for p in graph.populations for q in p.projections]
        late, pooled = any(q.delay for q in projections), any(q.pools for q in projections)
        if len(graph.populations) > 2 and late and pooled and any(p.current_width for p in graph.populations):
            return made
    raise AssertionError("no such graph")


def forge(
    model: QuantEnsemble,
    change: Callable[[dict[str, Any], dict[str, np.ndarray]], None] = lambda content, tensors: None,
    version: tuple[int, int] = (2, 0),
) -> bytes:
    """A file whose content was changed, with a fingerprint that fits it."""
    content, tensors = artifact._content(model)
    content = json.loads(artifact._json(content))
    change(content, tensors)
    fields = {
        "format": artifact.FORMAT,
        "version": list(version),
        "fingerprint": artifact._digest(content, tensors),
        "ensemble": content,
    }
    return save_tensors(tensors, metadata={"sne": artifact._json(fields)})


def refused(data: bytes) -> str:
    with pytest.raises(SneError) as caught:
        artifact.loads(data, "x.sne")
    assert caught.value.message.startswith("x.sne") and caught.value.hint
    return caught.value.message


def test_the_same_bytes_come_back_and_say_version_2() -> None:
    for seed in range(12):
        made = random_graph_ensemble(random.Random(seed))
        data = artifact.dumps(made)
        assert artifact._manifest(data)["version"] == [2, 0]
        assert artifact.dumps(artifact.loads(data)) == data
        assert artifact.fingerprint(artifact.loads(data)) == artifact.fingerprint(made)


def test_chains_keep_version_1_and_neither_passes_for_the_other(model: QuantEnsemble) -> None:
    assert forge(model) == artifact.dumps(model)
    assert artifact._manifest(artifact.dumps(artifact.load("mnist1d")))["version"][0] == 1
    assert "not that of its students" in refused(forge(model, version=(1, 3)))
    assert "not that of its students" in refused(forge(artifact.load("mnist1d"), version=(2, 0)))


def populations(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["students"][0]["graph"]["populations"]
    return found


def late(content: dict[str, Any]) -> dict[str, Any]:
    """A projection that may not arrive at once."""
    found = [q for n, p in enumerate(populations(content)) for q in p["projections"] if q["source"] >= n]
    return found[0] if found else populations(content)[0]["projections"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c, t: populations(c)[0]["projections"][0].update(source=99), "there is no such population"),
        (lambda c, t: populations(c)[0]["projections"][0].update(source=-2), "there is no such population"),
        (
            lambda c, t: populations(c)[0]["projections"][0].update(source=0, delay=0),
            "cycle needs a delay|does not hold",
        ),
        (lambda c, t: populations(c)[0]["projections"][0].update(delay=1025), "delay of 1025"),
        (lambda c, t: populations(c)[0]["projections"][0].update(in_shape=[1, 1, 65535]), ""),
        (lambda c, t: populations(c)[0]["bound"].update(high=32767), "not the proven ones"),
        (lambda c, t: populations(c)[0]["bound"].update(high=2**40), "do not fit in 32 bits"),
        (lambda c, t: populations(c)[0].update(shape=[1, 1, 0]), "must hold 1 to"),
        (lambda c, t: populations(c)[0]["neuron"].update(reset="hard"), "hard"),
        (lambda c, t: c["students"][0]["graph"].update(populations=[]), "0 populations"),
        (
            lambda c, t: c["students"][0]["graph"]["decoder"].update(bound={"low": 0, "high": 1}),
            "decoder's bound|not the",
        ),
        (lambda c, t: c["students"][0].update(layers=[{}]), ""),
        (lambda c, t: c["students"][0].update(layer_ops=[1] * 99), "layer_ops"),
    ],
)
def test_a_forged_graph_is_refused_by_what_is_wrong(model: QuantEnsemble, change: Any, words: str) -> None:
    message = refused(forge(model, change))
    assert any(word in message for word in words.split("|")), message


ODD = (
    -(2**63),
    -(2**31),
    -1,
    0,
    1,
    2,
    3,
    255,
    65535,
    2**16,
    2**31 - 1,
    2**31,
    2**40,
    2**63,
    10**30,
    1.5,
    None,
    "",
    [],
    {},
)


def test_a_graph_changed_at_random_is_refused_or_whole_in_bounded_time(model: QuantEnsemble) -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()

    def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        return [path] * bool(path) + [place for key, value in items for place in places(value, (*path, key))]

    content, tensors = artifact._content(model)
    content = json.loads(artifact._json(content))
    graph = ("students", 0, "graph")
    targets = [place for place in places(content) if place[:3] == graph]
    for _ in range(600):
        changed, kept = copy.deepcopy(content), dict(tensors)
        if rng.random() < 0.8:
            *path, last = rng.choice(targets)
            node: Any = changed
            for key in path:
                node = node[key]
            if rng.random() < 0.1:
                del node[last]
            else:
                node[last] = rng.choice(ODD)
        else:
            name = rng.choice([name for name in sorted(kept) if ".graph." in name])
            array = kept[name].copy()
            numbers = np.random.default_rng(rng.getrandbits(32))
            kept[name] = numbers.integers(-128, 128, array.shape).astype(array.dtype)
        data = save_tensors(
            kept,
            metadata={
                "sne": artifact._json(
                    {
                        "format": artifact.FORMAT,
                        "version": [2, 0],
                        "fingerprint": artifact._digest(changed, kept),
                        "ensemble": changed,
                    }
                )
            },
        )
        start = time.monotonic()
        try:
            loaded = artifact.loads(data, "x.sne")
            assert artifact.dumps(artifact.loads(artifact.dumps(loaded))) == artifact.dumps(loaded)
            outcomes["whole"] += 1
        except SneError as error:
            assert error.message.startswith("x.sne") and error.hint
            outcomes["refused"] += 1
        assert time.monotonic() - start < 20
    assert outcomes["refused"] > 300 and outcomes["whole"] > 5, outcomes
