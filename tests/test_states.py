"""What neurons keep between timesteps: a forward that changes it is refused, whatever way it takes, and what comes late
or from a constant is read as what it is. The witness is the user's own forward on the user's own network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import utils
from torch import Tensor, nn

from sne_edge.errors import SneError
from sne_edge.interchange import terms
from sne_edge.interchange.states import instances
from sne_edge.interchange.trace import trace

STEPS, INPUTS, HIDDEN, CLASSES = 6, 12, 20, 4
Loop = Callable[["Network", Tensor], Any]


class Network(nn.Module):
    """Weights and neurons of two layers, hidden states or not; `loop` is its forward."""

    def __init__(self, loop: Loop, hidden: bool = False, kind: type[nn.Module] = snn.Leaky) -> None:
        super().__init__()
        self.loop = loop
        self.fc1, self.fc2, self.back = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES), nn.Linear(HIDDEN, HIDDEN)
        self.joined = nn.Linear(INPUTS + HIDDEN, HIDDEN)
        more = {} if kind is snn.Leaky else {"alpha": 0.7}
        self.lif1, self.lif2 = (kind(beta=b, init_hidden=hidden, **more) for b in (0.9, 0.8))  # type: ignore[call-arg]
        self.net = nn.Sequential(nn.Linear(INPUTS, HIDDEN), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(HIDDEN, 4))
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    parameter *= 2.5

    def forward(self, x: Tensor) -> Any:
        return self.loop(self, x)


def samples(count: int = 32) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((count, INPUTS), np.float32))


def hidden_loop(change: Callable[[Network, int], None]) -> Loop:
    def loop(net: Network, x: Tensor) -> Tensor:
        currents = []
        for t in range(STEPS):
            change(net, t)
            currents.append(net.net(x))
        return torch.stack(currents).mean(0)

    return loop


def handed_loop(change: Callable[[Network, Tensor, Tensor], Any]) -> Loop:
    """States handed on, after `change` of spikes and membranes."""

    def loop(net: Network, x: Tensor) -> Tensor:
        one, spikes = net.lif1.init_leaky(), []
        for _ in range(STEPS):
            spk, one = net.lif1(net.fc1(x), one)
            change(net, spk, one)
            spikes.append(net.fc2(spk))
        return torch.stack(spikes).mean(0)

    return loop


def once(net: Network, t: int, change: Callable[[], Any], at: int = STEPS // 2) -> None:
    if t == at:
        change()


CHANGES: dict[str, Loop] = {
    "utils.reset at every timestep": hidden_loop(lambda net, t: utils.reset(net.net)),
    "utils.reset half way": hidden_loop(lambda net, t: once(net, t, lambda: utils.reset(net.net))),
    "reset_mem half way": hidden_loop(lambda net, t: once(net, t, lambda: net.net[1].reset_mem())),
    "a hidden membrane times a factor": hidden_loop(lambda net, t: setattr(net.net[1], "mem", net.net[1].mem * 0.9)),
    "a hidden membrane clamped": hidden_loop(lambda net, t: setattr(net.net[1], "mem", net.net[1].mem.clamp(-1, 1))),
    "a hidden membrane changed in place": hidden_loop(lambda net, t: once(net, t, lambda: net.net[1].mem.mul_(0.5))),
    "a membrane changed through a view": handed_loop(lambda net, spk, mem: mem[:, :4].zero_()),
    "a membrane changed in place": handed_loop(lambda net, spk, mem: mem.clamp_(-1, 1)),
    "spikes changed through a view": handed_loop(lambda net, spk, mem: spk.view(-1, 4, 5)[:, 0].zero_()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_forward_that_changes_states_between_timesteps_is_refused(name: str) -> None:
    with pytest.raises(SneError, match=r"not its own of the timestep before|changed in place"):
        print(trace(Network(CHANGES[name]), samples(2), STEPS))


def test_a_step_that_resets_at_every_call_is_refused() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Network(lambda net, x: None).net

        def forward(self, x: Tensor) -> Any:
            utils.reset(self.net)
            return self.net(x)

    with pytest.raises(SneError, match="not its own of the timestep before") as refused:
        trace(Step(), samples(2), STEPS)
    assert "before the first one only" in refused.value.hint


def same_as_own(network: Network) -> float:
    """The largest difference of what was read, in floating point, from the network's own forward."""
    x = samples()
    read = trace(network, x[:2], STEPS)
    utils.reset(network.net)
    with torch.no_grad():
        own = network(x).double()
    assert own.std() > 0.01, "a network that says something"
    found = read.graph.simulate(x.double()[:, None, None], STEPS).logits
    scale = STEPS if read.graph.decoder.kind == "count" else 1
    assert torch.allclose(read.witness(x).double() / scale, own / scale, atol=1e-5)
    return float((found / scale - own / scale).abs().max())


def recurrent(net: Network, x: Tensor) -> Tensor:
    mem, spk, out = net.lif1.init_leaky(), torch.zeros(len(x), HIDDEN), []
    for _ in range(STEPS):
        spk, mem = net.lif1(net.fc1(x) + net.back(spk), mem)
        out.append(net.fc2(spk))
    return torch.stack(out).mean(0)


def concatenated(net: Network, x: Tensor) -> Tensor:
    mem, spk, out = net.lif1.init_leaky(), torch.zeros(len(x), HIDDEN), []
    for _ in range(STEPS):
        spk, mem = net.lif1(net.joined(torch.cat([x, spk], 1)), mem)
        out.append(net.fc2(spk))
    return torch.stack(out).mean(0)


def concatenated_first(net: Network, x: Tensor) -> Tensor:
    mem, spk, out = net.lif1.init_leaky(), torch.zeros(len(x), HIDDEN), []
    for _ in range(STEPS):
        spk, mem = net.lif1(F.linear(torch.cat([spk, x], 1), weight=net.joined.weight, bias=net.joined.bias), mem)
        out.append(net.fc2(spk))
    return torch.stack(out).mean(0)


def pipelined(net: Network, x: Tensor) -> Tensor:
    one, two, spk, out = net.lif1.init_leaky(), net.lif2.init_leaky(), torch.zeros(len(x), HIDDEN), []
    for _ in range(STEPS):
        late, two = net.lif2(net.fc2(spk), two)
        spk, one = net.lif1(net.fc1(x), one)
        out.append(late)
    return torch.stack(out).sum(0)


def constant_current(net: Network, x: Tensor) -> Tensor:
    mem, out, more = net.lif1.init_leaky(), [], torch.linspace(-1, 1, HIDDEN)
    for _ in range(STEPS):
        spk, mem = net.lif1(net.fc1(x) + more, mem)
        out.append(net.fc2(spk))
    return torch.stack(out).mean(0)


def stacked_last(net: Network, x: Tensor) -> Tensor:
    one, two, out = net.lif1.init_leaky(), net.lif2.init_leaky(), []
    for _ in range(STEPS):
        spk, one = net.lif1(net.fc1(x), one)
        _, two = net.lif2(net.fc2(spk), two)
        out.append(two)
    return torch.stack(out, dim=-1).mean(-1)


def detached(net: Network, x: Tensor) -> Tensor:
    mem, out = net.lif1.init_leaky(), []
    for _ in range(STEPS):
        spk, mem = net.lif1(net.fc1(x), mem.detach_())
        out.append(net.fc2(spk))
    return torch.stack(out).mean(0)


READ: dict[str, Loop] = {
    "utils.reset before the first timestep": hidden_loop(
        lambda net, t: once(net, t, lambda: utils.reset(net.net), at=0)
    ),
    "recurrence with a bias": recurrent,
    "the input and the spikes before, concatenated": concatenated,
    "the spikes before and the input, weights by name": concatenated_first,
    "a layer that hears of the timestep before": pipelined,
    "a constant current by neuron": constant_current,
    "membranes stacked along the last axis": stacked_last,
    "membranes detached in place": detached,
}


@pytest.mark.parametrize("name", READ)
def test_what_comes_late_or_is_constant_is_read_as_the_network_has_it(name: str) -> None:
    torch.manual_seed(3)
    assert same_as_own(Network(READ[name])) < 1e-5


def test_a_reset_reaches_the_copy_that_is_followed_and_not_the_users_network() -> None:
    network, other = Network(lambda net, x: None), Network(lambda net, x: None)
    kept = list(snn.SpikingNeuron.instances)
    network.net(samples(2))
    other.net(samples(2))
    with instances(network):
        utils.reset(network.net)
    assert not network.net[1].mem.any() and other.net[1].mem.any()
    assert snn.SpikingNeuron.instances == kept


REFUSED: dict[str, tuple[Loop, str]] = {
    "rounding to whole numbers": (
        lambda net, x: torch.stack(
            [net.fc2(net.lif1(net.fc1((x * 4).to(torch.int32).to(torch.float32) / 4))[0]) for _ in range(STEPS)]
        ).mean(0),
        "to: to whole numbers",
    ),
    "a sum that keeps the axis of time": (
        lambda net, x: torch.stack([net.lif1(net.fc1(x))[0] for _ in range(STEPS)]).sum(0, keepdim=True),
        "with keepdim",
    ),
    "a current and a membrane, added": (
        lambda net, x: torch.stack(
            [net.fc2(net.lif2(net.back(net.lif1(net.fc1(x))[0]) + net.lif1.mem)[0]) for _ in range(STEPS)]
        ).mean(0),
        "of membranes and something else",
    ),
    "a constant by place": (
        lambda net, x: torch.stack(
            [net.fc2(net.lif1(net.fc1(x) + torch.rand(len(x), HIDDEN))[0]) for _ in range(STEPS)]
        ).mean(0),
        "of a constant by place",
    ),
    "neurons that hear nothing of the input": (
        lambda net, x: torch.stack([net.lif2(net.fc2(torch.ones(len(x), HIDDEN)))[0] for _ in range(STEPS)]).sum(0),
        "it does not depend on the input",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_the_function_and_not_as_the_users_fault(name: str) -> None:
    loop, why = REFUSED[name]
    with pytest.raises(SneError, match=why) as refused:
        print(trace(Network(loop), samples(2), STEPS))
    assert "forward failed" not in refused.value.message


def test_a_maximum_of_spikes_times_a_negative_number_is_refused_and_its_negative_is_read() -> None:
    spikes, negative = terms.source("spikes", (2, 8)), np.full(1, -1.0)
    with pytest.raises(ValueError, match="a maximum of what is multiplied by a negative number"):
        print(terms.pool(terms.scale(spikes, negative), "maximum", (1, 2), (1, 2), (0, 0)))
    pooled = terms.scale(terms.pool(spikes, "maximum", (1, 2), (1, 2), (0, 0)), negative)
    assert pooled.terms[0].gain == -1 and pooled.shape == (2, 4)


def adapted(change: Callable[[snn.Leaky, int], None]) -> Loop:
    """A loop in which something about the first neurons is set at each timestep."""

    def loop(net: Network, x: Tensor) -> Tensor:
        one, two, spikes = net.lif1.init_leaky(), net.lif2.init_leaky(), []
        for t in range(STEPS):
            change(net.lif1, t)
            a, one = net.lif1(net.fc1(x), one)
            b, two = net.lif2(net.fc2(a), two)
            spikes.append(b)
        return torch.stack(spikes)

    return loop


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda lif, t: setattr(lif, "threshold", torch.tensor(2 - t / STEPS)), "threshold"),
        (lambda lif, t: setattr(lif, "threshold", lif.threshold + (0 if t < STEPS - 1 else 0.5)), "threshold"),
        (lambda lif, t: setattr(lif, "beta", torch.tensor(0.3 + 0.1 * t)), "beta"),
    ],
)
def test_settings_that_change_while_a_network_runs_are_refused(change: Any, what: str) -> None:
    with pytest.raises(SneError, match=f"lif1's {what} changes while the network runs") as refused:
        trace(Network(adapted(change)), samples(), STEPS)
    assert "set it before" in refused.value.hint


def test_recurrent_weights_that_change_are_refused_and_settings_of_each_forward_are_not() -> None:
    def loop(net: Network, x: Tensor) -> Tensor:
        spikes, one = net.lif1.init_rleaky()
        currents, kept = [], net.lif1.recurrent.weight.data.clone()
        for t in range(STEPS):
            net.lif1.recurrent.weight.data = kept * (t > 2)
            spikes, one = net.lif1(net.fc1(x), spikes, one)
            currents.append(net.fc2(spikes))
        return torch.stack(currents).mean(0)

    net = Network(loop)
    net.lif1 = snn.RLeaky(beta=0.9, linear_features=HIDDEN)
    with pytest.raises(SneError, match=r"lif1's recurrent\.weight changes"):
        trace(net, samples(), STEPS)
    once = adapted(lambda lif, t: setattr(lif, "threshold", torch.tensor(1.5)))
    assert float(trace(Network(once), samples(), STEPS).graph.populations[0].threshold) == 1.5  # type: ignore[arg-type]
