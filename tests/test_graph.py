"""Graphs: the reference equals the scalar oracle on every number, and no state ever leaves its proven bound."""

from __future__ import annotations

import random
from collections import Counter

import graph_oracle
import numpy as np
from graph_strategies import EVERY_FEATURE, GRAPH_ENCODERS, features, random_graph_ensemble
from strategies import random_inputs

from sne_edge.check import reference
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph

GRAPHS = 150


def assert_student(ensemble: QuantEnsemble, number: int, inputs: np.ndarray) -> set[str]:
    """Oracle and reference agree on one student, at every timestep; returns what happened."""
    traces = [graph_oracle.run_student(ensemble, number, row.tolist(), ensemble.encoder.timesteps) for row in inputs]
    for t in range(1, ensemble.encoder.timesteps + 1):
        got = reference.run_student(ensemble, number, inputs, t)
        for i, trace in enumerate(traces):
            steps = trace.steps[:t]
            assert [state[i].tolist() for state in got.membranes] == steps[-1].states
            assert got.spikes[i].tolist() == [sum(counts) for counts in zip(*(s.spikes for s in steps), strict=True)]
            assert got.layer_ops[i].tolist() == [sum(ops) for ops in zip(*(s.ops for s in steps), strict=True)]
            assert got.readout[i].tolist() == steps[-1].totals
            assert got.macs[i] == sum(step.macs for step in steps)
            assert got.macs[i] + got.synaptic_ops[i] == got.layer_ops[i].sum()
    assert got.part.tolist() == [trace.part for trace in traces]
    return set().union(*(trace.seen for trace in traces))


def test_reference_equals_the_scalar_oracle_at_every_timestep_and_states_stay_in_their_bounds() -> None:
    met: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    graphs = 0
    for seed in range(GRAPHS):
        rng = random.Random(seed)
        ensemble = random_graph_ensemble(rng, kind=GRAPH_ENCODERS[seed % 4], chains=seed % 5 == 0)
        met += features(ensemble)
        inputs = random_inputs(rng, ensemble, 6)[:6]
        for number, student in enumerate(ensemble.students):
            if isinstance(student.graph, Graph):
                graphs += 1
                happened.update(assert_student(ensemble, number, inputs))
    assert graphs >= GRAPHS
    assert met.keys() >= EVERY_FEATURE, EVERY_FEATURE - met.keys()
    assert min(met[name] for name in EVERY_FEATURE) >= 5, met
    events = {f"fired {reset} {when}" for reset in ("subtract", "zero") for when in ("late", "at once")}
    events |= {f"{op} spikes arrive" for op in ("linear", "conv", "depthwise", "identity", "late", "recurrent")}
    events |= {"fired none at once", "clamped"}
    assert min(happened[name] for name in events) >= 10, happened
