"""Every neuron of snnTorch that is read, with every reset it has: the float graph fires as the neuron's own forward
does, spike for spike, its integers are the network's, and exact in C on the host and on every core."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from test_equivalence_qemu import BOARDS, compare
from torch import Tensor, nn

from sne_edge import quantize_network
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.to_nir import to_nir
from sne_edge.interchange.trace import trace
from sne_edge.ir.artifact import dumps, loads
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.graph_proof import prove_decoder
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

WIDE = 16  # neurons of each kind
STEPS = 24


def leaks(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, WIDE)


KINDS: dict[str, Callable[..., nn.Module]] = {
    "Leaky": lambda **kw: snn.Leaky(beta=0.8, **kw),
    "Lapicque": lambda **kw: snn.Lapicque(beta=0.8, **{"threshold": 0.1} | kw),
    "Lapicque of R and C": lambda **kw: snn.Lapicque(R=2.0, C=3.0, **{"threshold": 0.2} | kw),
    "Synaptic": lambda **kw: snn.Synaptic(alpha=0.7, beta=0.8, **kw),
    "Alpha": lambda **kw: snn.Alpha(alpha=0.9, beta=0.6, **kw),
    "RLeaky": lambda **kw: snn.RLeaky(beta=0.8, linear_features=WIDE, **kw),
    "RLeaky one to one": lambda **kw: snn.RLeaky(beta=0.8, all_to_all=False, V=-0.4, **kw),
    "RSynaptic": lambda **kw: snn.RSynaptic(alpha=0.7, beta=0.8, linear_features=WIDE, **kw),
    "Leaky by neuron": lambda **kw: snn.Leaky(
        beta=leaks(0.3, 0.99), learn_beta=True, **{"threshold": leaks(1, 2)} | kw
    ),
    "Synaptic by neuron": lambda **kw: snn.Synaptic(
        alpha=leaks(0.2, 0.9), beta=leaks(0.4, 0.95), learn_alpha=True, learn_beta=True, **kw
    ),
    "Alpha by neuron": lambda **kw: snn.Alpha(
        alpha=leaks(0.6, 0.97), beta=leaks(0.2, 0.8), learn_threshold=True, **{"threshold": leaks(0.7, 1.4)} | kw
    ),
}
RESETS = [("subtract", True), ("zero", True), ("none", True), ("subtract", False), ("zero", False)]
AT_ONCE = ("Leaky", "Synaptic", "RLeaky")  # those that take reset_delay, and do not fail with it
CASES = [
    (kind, reset, late) for kind in KINDS for reset, late in RESETS if late or kind.split()[0] in AT_ONCE
]  # fmt: skip


DEPLOYED = [case for case in CASES if case[0] not in ("Lapicque of R and C", "RLeaky one to one", "Leaky by neuron")]


def step(x: Tensor) -> Tensor:
    """A surrogate that keeps to double precision, in which rounding flips no spike."""
    return (x > 0).to(x.dtype)


def network(kind: str, reset: str, late: bool, **kw: Any) -> nn.Module:
    """Two layers of a kind, hidden and decoded."""
    torch.manual_seed(3)
    kw |= {} if late else {"reset_delay": False}
    made = nn.Sequential(
        nn.Linear(20, WIDE), KINDS[kind](reset_mechanism=reset, init_hidden=True, **kw),
        nn.Linear(WIDE, WIDE), KINDS[kind](reset_mechanism=reset, init_hidden=True, **kw),
    )  # fmt: skip
    with torch.no_grad():
        for module in made:
            if isinstance(module, nn.Linear):
                module.weight.mul_(4)
    return made.eval()


def raster(samples: int) -> Tensor:
    return (torch.rand(STEPS, samples, 20, generator=torch.Generator().manual_seed(5)) < 0.25).float()


@pytest.mark.parametrize(("kind", "reset", "late"), CASES)
def test_the_float_graph_fires_as_the_neurons_own_forward_does(kind: str, reset: str, late: bool) -> None:
    own, x = network(kind, reset, late, spike_grad=step).double(), raster(32).double()
    made = trace(own, x.float(), STEPS, time_axis=0)
    run = made.graph.simulate(x[:, :, None, None, :])
    spikes: dict[int, list[Tensor]] = {1: [], 3: []}
    with torch.no_grad():
        for module in own:
            if hasattr(module, "reset_mem"):
                module.reset_mem()
        for now in x:
            for n, module in enumerate(own):
                now = module(now)
                if n in spikes:
                    spikes[n].append(now)
    for n, record in spikes.items():
        want = torch.stack(record)
        assert 50 < want.sum() < 0.95 * want.numel()
        assert torch.equal(run.spikes[str(n)].reshape(want.shape), want)


@pytest.fixture(scope="module")
def together() -> tuple[QuantEnsemble, np.ndarray]:
    """A student for each of many cases, so that one run of the compiler does for all; and inputs."""
    x, members = raster(60).transpose(0, 1).numpy(), []
    for kind, reset, late in DEPLOYED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SneWarning)  # untrained logits lie close together
            made = quantize_network(
                network(kind, reset, late), "own", x, timesteps=STEPS, encoder="events", decode="count", fail_below=0.0
            )
        assert made.provenance["correlation"] > 0.95, (kind, reset, late, made.provenance)
        members.append(made)
    students = tuple(_held(member.students[0], member.encoder) for member in members)
    ensemble = msgspec.structs.replace(
        members[0],
        name="every",
        students=students,
        order=tuple(range(len(students))),
        vectors=no_vectors(members[0].encoder, WIDE, students),
    )
    return ensemble, members[0].vectors.inputs


def _held(student: QuantStudent, encoder: Encoder) -> QuantStudent:
    """With counts that are clamped early, so that the logits of many students fit."""
    assert isinstance(student.graph, Graph)
    decoder = msgspec.structs.replace(student.graph.decoder, clamp=(-1000, 1000))
    bound = prove_decoder(decoder, student.graph.populations[-1], encoder)
    assert bound is not None
    graph = msgspec.structs.replace(student.graph, decoder=msgspec.structs.replace(decoder, bound=bound))
    return msgspec.structs.replace(student, graph=graph, gain=np.ones_like(student.gain))


def test_its_integers_are_exact_in_c(
    together: tuple[QuantEnsemble, np.ndarray], require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    ensemble, inputs = together
    assert loads(dumps(ensemble)).students[-1].graph is not None
    checks = verify(ensemble, inputs[:8], ReferenceEngine(ensemble), [HostEngine(HostModel(ensemble))])
    assert all(check.difference is None for check in checks), checks
    assert sum(check.compared for check in checks) > 10_000


@pytest.mark.parametrize("board", BOARDS)
def test_its_integers_are_exact_on_every_core(
    together: tuple[QuantEnsemble, np.ndarray], board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    ensemble, inputs = together
    directory = export(ensemble, resolve_board(board).target, tmp_path / "export")
    image = build_firmware(directory, board, tmp_path / "firmware", definitions=("SNE_TRACE",))
    runs = [(ActivationPolicy("mask", mask=1 << n), n) for n in range(len(ensemble.students))]
    compare(ensemble, board, image, inputs[:2], runs)


@pytest.mark.parametrize(("kind", "reset"), [("Alpha", "subtract"), ("Lapicque", "zero")])
def test_nir_that_has_no_words_for_a_neuron_refuses_it_by_population(kind: str, reset: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)
        made = quantize_network(
            network(kind, reset, True), "own", raster(8).transpose(0, 1).numpy(), timesteps=STEPS, encoder="events",
            decode="count", fail_below=0.0,
        )  # fmt: skip
    with pytest.raises(SneError, match=r"alpha neurons|refractory") as error:
        to_nir(made)
    assert error.value.hint
