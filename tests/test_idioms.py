"""Forwards as people write them: the same network in many words is the same float graph, and its own forward.

The witness is the network's own forward, called by the test, and the plain way to write the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn import functional

from sne_edge import quantize_network
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.graphs import as_maps, followed

STEPS = 6


class Net(nn.Module):
    """12 inputs, 20 hidden neurons, 4 outputs; what a subclass overrides is how it is written."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(12, 20), nn.Linear(20, 4)
        self.lif1, self.lif2 = snn.Leaky(beta=0.8), snn.Leaky(beta=0.9)
        self.register_buffer("gain", torch.linspace(0.5, 1.5, 20))
        with torch.no_grad():
            self.fc1.weight *= 2.5
            self.fc2.weight *= 2.5

    def before(self, x: Tensor) -> Any:
        return x

    def at(self, x: Any, t: int) -> Tensor:
        return x  # type: ignore[no-any-return]

    def current(self, x: Tensor) -> Tensor:
        return self.fc1(x)  # type: ignore[no-any-return]

    def rest(self, x: Tensor, neurons: int) -> Tensor:
        return torch.zeros(len(x), neurons)

    def returned(self, hidden: list[Tensor], spikes: list[Tensor], membranes: list[Tensor]) -> Any:
        return torch.stack(spikes)

    def forward(self, x: Tensor) -> Any:
        x = self.before(x)
        first = self.at(x, 0)
        one, two = self.rest(first, 20), self.rest(first, 4)
        hidden, spikes, membranes = [], [], []
        for t in range(STEPS):
            a, one = self.lif1(self.current(self.at(x, t)), one)
            b, two = self.lif2(self.fc2(a), two)
            hidden.append(a)
            spikes.append(b)
            membranes.append(two)
        return self.returned(hidden, spikes, membranes)


def network(**methods: Any) -> Net:
    made: Net = type("Written", (Net,), methods)().eval()
    return made


def summed(made: Any) -> Tensor:
    """Spikes [T, N, 4] counted."""
    return torch.stack(made).sum(0) if isinstance(made, list) else made.sum(0)


# of samples that stay the same: methods, and what its answer makes logits
STILL: dict[str, tuple[dict[str, Any], Callable[[Any], Tensor]]] = {
    "zeros_like a current": ({"rest": lambda s, x, n: torch.zeros_like(x[:, :1].expand(-1, n))}, summed),
    "new_zeros": ({"rest": lambda s, x, n: x.new_zeros(len(x), n)}, summed),
    "zeros of another's type": ({"rest": lambda s, x, n: torch.zeros(len(x), n).type_as(x)}, summed),
    "zeros moved to another": ({"rest": lambda s, x, n: torch.zeros(len(x), n).to(x)}, summed),
    "a list of spikes": ({"returned": lambda s, h, r, m: r}, summed),
    "lists of spikes and membranes": ({"returned": lambda s, h, r, m: (r, m)}, lambda made: summed(made[0])),
    "hidden spikes first": ({"returned": lambda s, h, r, m: (torch.stack(h), torch.stack(r))}, lambda m: m[1].sum(0)),
    "hidden spikes named first": (
        {"returned": lambda s, h, r, m: {"hidden": torch.stack(h), "spikes": torch.stack(r)}},
        lambda m: m["spikes"].sum(0),
    ),
    "time second": ({"returned": lambda s, h, r, m: torch.stack(r).permute(1, 0, 2)}, lambda m: m.sum(1)),
    "time last": ({"returned": lambda s, h, r, m: torch.stack(r).permute(1, 2, 0).sum(-1)}, lambda m: m),
    "a sum over an axis": ({"returned": lambda s, h, r, m: torch.stack(r).sum(axis=0)}, lambda m: m),
    "a mean over axes": ({"returned": lambda s, h, r, m: torch.stack(r).mean((0,))}, lambda m: m),
    "the last membrane": ({"returned": lambda s, h, r, m: torch.stack(m)[-1, :, :]}, lambda m: m),
    "a sigmoid last": ({"returned": lambda s, h, r, m: torch.sigmoid(torch.stack(m).mean(0))}, torch.logit),
    "one less the sample": ({"before": lambda s, x: 1 - x}, summed),
    "a sample's negative": ({"before": lambda s, x: -x}, summed),
    "in place": ({"before": lambda s, x: x.mul_(2).sub_(0.5).div_(1.5)}, summed),
    "a factor by neuron": ({"current": lambda s, x: s.fc1(x) * s.gain}, summed),
    "a divisor by neuron": ({"current": lambda s, x: s.fc1(x) / (s.gain + 0.5)}, summed),
    "a matrix": ({"current": lambda s, x: x @ s.fc1.weight.t() + s.fc1.bias}, summed),
    "repeated by a new axis": ({"at": lambda s, x, t: x.repeat(STEPS, 1, 1)[t]}, summed),
    "expanded by a new axis": (
        {"before": lambda s, x: x.expand(STEPS, *x.shape), "at": lambda s, x, t: x[t]}, summed),
    "unsqueezed and repeated": (
        {"before": lambda s, x: x.unsqueeze(0).repeat(STEPS, 1, 1), "at": lambda s, x, t: x[t]}, summed),
    "an axis of None, expanded": (
        {"before": lambda s, x: x[None].expand(STEPS, -1, -1), "at": lambda s, x, t: x[t]}, summed),
    "repeated along the second axis": (
        {"before": lambda s, x: x.unsqueeze(1).repeat(1, STEPS, 1), "at": lambda s, x, t: x[:, t]}, summed),
    "expanded along the last axis": (
        {"before": lambda s, x: x[:, :, None].expand(-1, -1, STEPS), "at": lambda s, x, t: x[..., t]}, summed),
    "stacked with itself": ({"before": lambda s, x: torch.stack([x] * STEPS), "at": lambda s, x, t: x[t]}, summed),
    "repeated maps, flat": (
        {"before": lambda s, x: x.view(-1, 3, 4).repeat(STEPS, 1, 1, 1).flatten(2), "at": lambda s, x, t: x[t]},
        summed),
    "repeated and a layer of all": (
        {"before": lambda s, x: s.fc1(x.repeat(STEPS, 1, 1)), "at": lambda s, x, t: x[t], "current": lambda s, x: x},
        summed),
    "joined by a new axis": ({"returned": lambda s, h, r, m: torch.cat([v.unsqueeze(0) for v in r])}, summed),
    "membranes joined": (
        {"returned": lambda s, h, r, m: torch.cat([v[None] for v in m], dim=0).mean(0)}, lambda m: m),
    "joined in two parts": (
        {"returned": lambda s, h, r, m: torch.cat([torch.stack(r[:2]), torch.stack(r[2:])])}, summed),
    "votes": ({"returned": lambda s, h, r, m: sum(r).view(-1, 2, 2).sum(2)}, lambda m: m),
    "votes of neurons apart": (
        {"returned": lambda s, h, r, m: torch.stack(r).sum(0).reshape(-1, 2, 2).mean(1)}, lambda m: m),
    "votes of each timestep": ({"returned": lambda s, h, r, m: torch.stack(r).view(STEPS, -1, 2, 2).sum(-1)}, summed),
    "votes before time is summed": (
        {"returned": lambda s, h, r, m: torch.stack(r, 1).unflatten(2, (2, 2)).sum(3).sum(1)}, lambda m: m),
    "an axis and back": ({"before": lambda s, x: x[:, None], "at": lambda s, x, t: x.flatten(1)}, summed),
}  # fmt: skip
# of rasters [N, T, 12]
MOVING: dict[str, dict[str, Any]] = {
    "plain": {"at": lambda s, x, t: x[:, t]},
    "slices behind": {"at": lambda s, x, t: x[:, t, :]},
    "dots": {"at": lambda s, x, t: x[:, t, ...]},
    "dots before": {"before": lambda s, x: x.transpose(1, 2), "at": lambda s, x, t: x[..., t]},
    "a number of numpy": {"at": lambda s, x, t: x[:, np.int64(t)]},
    "a number of torch": {"at": lambda s, x, t: x[:, torch.tensor(t)]},
    "from the end": {"at": lambda s, x, t: x[:, t - STEPS]},
    "scaled before": {"before": lambda s, x: (x - 0.25) / 0.5, "at": lambda s, x, t: x[:, t]},
    "one less all": {"before": lambda s, x: 1 - x, "at": lambda s, x, t: x[:, t]},
    "a layer of all": {"before": lambda s, x: s.fc1(x), "at": lambda s, x, t: x[:, t], "current": lambda s, x: x},
    "unbound": {"before": lambda s, x: (2 * x).unbind(1), "at": lambda s, x, t: x[t]},
    "a slice of one": {"at": lambda s, x, t: x[:, t : t + 1].squeeze(1)},
    "a slice of one, flat": {"at": lambda s, x, t: x[:, t : t + 1, :].flatten(1)},
    "a slice of one, taken": {"at": lambda s, x, t: x[:, t : t + 1][:, 0]},
    "the later half from behind": {"at": lambda s, x, t: x[:, 3:][:, t - 3] if t > 2 else x[:, t]},
    "chunks": {"before": lambda s, x: x.chunk(STEPS, 1), "at": lambda s, x, t: x[t].squeeze(1)},
    "splits": {"before": lambda s, x: torch.split(2 * x, 1, dim=1), "at": lambda s, x, t: x[t].squeeze(1) / 2},
    "narrowed": {"at": lambda s, x, t: x.narrow(1, t, 1).squeeze(1)},
    "selected": {"at": lambda s, x, t: x.index_select(1, torch.tensor([t])).squeeze(1)},
    "asked about": {"at": lambda s, x, t: (x if x.is_contiguous() else x.contiguous())[:, t]},
    "data": {"at": lambda s, x, t: x.data[:, t]},
    "scaled by channel": {
        "before": lambda s, x: x * torch.linspace(0.5, 1, 12), "at": lambda s, x, t: x[:, t]},
}  # fmt: skip


def still() -> np.ndarray:
    return np.random.default_rng(0).random((60, 12), np.float32)


def moving() -> np.ndarray:
    return (np.random.default_rng(1).random((60, STEPS, 12)) < 0.4).astype(np.float32)


def graph_says(net: nn.Module, x: np.ndarray, encoder: str) -> np.ndarray:
    """Logits of the float graph that a network's forward was read as."""
    graph, timed = followed(net, x, encoder, STEPS, None), encoder != "direct"
    maps = torch.from_numpy(as_maps(x, graph.input_shape, timed).astype(np.float64))
    run = graph.simulate(maps.transpose(0, 1)) if timed else graph.simulate(maps, STEPS)
    return run.logits.numpy()


@pytest.mark.parametrize("name", STILL)
def test_a_network_in_other_words_is_its_own_forward(name: str) -> None:
    methods, logits = STILL[name]
    net, x = network(**methods), still()
    before = x.copy()
    with torch.no_grad():
        own = logits(net(torch.from_numpy(x.copy()))).double().numpy()
    made = graph_says(net, x, "direct")
    assert own.std(axis=0).max() > 0.1, "a network that says something"
    scale = own.std() / made.std()
    assert (np.abs(made * scale - own).max(axis=1) < 1e-3).mean() >= 0.95, "single precision may turn a spike"
    assert np.array_equal(x, before), "a forward that works in place changes no samples of ours"


@pytest.mark.parametrize("name", MOVING)
def test_a_network_of_rasters_in_other_words_is_its_own_forward(name: str) -> None:
    net, x = network(**MOVING[name]), moving()
    with torch.no_grad():
        own = net(torch.from_numpy(x)).sum(0).double().numpy()
    assert own.std(axis=0).max() > 0.5
    assert (graph_says(net, x, "frames") == own).all(axis=1).mean() >= 0.95


@pytest.mark.parametrize("name", ["plain", "slices behind", "a layer of all", "a slice of one", "unbound"])
def test_one_timestep_is_a_timestep(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_idioms.STEPS", 1)
    net, x = network(**MOVING[name]), moving()[:, :1]
    with torch.no_grad():
        own = net(torch.from_numpy(x)).sum(0).double().numpy()
    assert own.std(axis=0).max() > 0.1
    assert (graph_says(net, x, "frames") == own).all(axis=1).mean() >= 0.95


def test_signals_whose_time_is_last_are_taken_so() -> None:
    net, x = network(at=lambda s, x, t: x[:, :, t]), moving()
    with torch.no_grad():
        own = net(torch.from_numpy(x).movedim(1, 2)).sum(0).double().numpy()
    assert (graph_says(net, x, "events") == own).all(axis=1).mean() >= 0.95
    made = quantize_network(net, "last", x, timesteps=STEPS, encoder="events", warn_below=0.9)
    assert made.provenance["correlation"] > 0.98


def test_a_forward_that_wants_its_number_of_timesteps_is_given_it() -> None:
    class Counted(Net):
        def forward(self, x: Tensor, num_steps: int) -> Tensor:  # type: ignore[override]
            return Net.forward(self, x)[:num_steps]  # type: ignore[no-any-return]

    net, x = Counted().eval(), still()
    with torch.no_grad():
        own = net(torch.from_numpy(x), STEPS).sum(0).double().numpy()
    assert (graph_says(net, x, "direct") == own).all(axis=1).mean() >= 0.95
    with pytest.raises(SneError, match="mem1") as refused:
        quantize_network(type("N", (Net,), {"forward": lambda s, x, mem1, mem2: x})(), "own", x, timesteps=STEPS)
    assert "wants mem1, mem2, too" in refused.value.hint


def test_modules_that_keep_membranes_themselves_start_as_they_were_made() -> None:
    class Keeping(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(inputs, outputs), snn.Leaky(beta=0.8)
            with torch.no_grad():
                self.fc.weight *= 3
            self.mem = self.lif.init_leaky()

        def forward(self, x: Tensor) -> Tensor:
            spikes, self.mem = self.lif(self.fc(x), self.mem)
            return spikes  # type: ignore[no-any-return]

    class Looping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(Keeping(12, 20), Keeping(20, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.body(x) for _ in range(STEPS)])

    x = still()
    with torch.no_grad():
        own = Looping()(torch.from_numpy(x)).sum(0).double().numpy()
    assert own.std(axis=0).max() > 0.5
    assert (graph_says(Looping(), x, "direct") == own).all(axis=1).mean() >= 0.95
    made = quantize_network(Looping(), "own", x, timesteps=STEPS, warn_below=0.8)
    assert made.provenance["correlation"] > 0.95


def counted(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """Spikes that a network of one timestep, whose neurons keep their states, makes of samples in all."""
    for neurons in (module for module in net.modules() if isinstance(module, snn.Leaky)):
        neurons.reset_mem()
    with torch.no_grad():
        return torch.stack([net(torch.from_numpy(x)) for _ in range(STEPS)]).sum(0).double().numpy()


def test_concatenations_of_concatenations_and_matrices_behind_them_are_read() -> None:
    class Dense(nn.Module):
        def __init__(self, product: Any) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.product, self.layers = product, nn.ModuleList([nn.Linear(12, 8), nn.Linear(20, 8), nn.Linear(28, 4)])
            self.neurons = nn.ModuleList(snn.Leaky(beta=0.8, init_hidden=True) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for layer, neurons in zip(self.layers, self.neurons, strict=True):
                made = neurons(3 * self.product(x, layer))
                x = torch.cat([x, made], dim=1)
            return made  # type: ignore[no-any-return]

    x = still()
    plain = Dense(lambda x, layer: layer(x))
    assert counted(plain, x).std(axis=0).max() > 0.5
    assert (graph_says(plain, x, "direct") == counted(plain, x)).all(axis=1).mean() >= 0.95
    for product in (lambda x, layer: x @ layer.weight.t(), lambda x, layer: torch.mm(x, layer.weight.T)):
        net = Dense(lambda x, layer, p=product: p(x, layer) + layer.bias)
        assert (graph_says(net, x, "direct") == counted(net, x)).all(axis=1).mean() >= 0.95


def test_records_that_are_filled_with_slices_are_records() -> None:
    def returned(self: Net, hidden: list[Tensor], spikes: list[Tensor], membranes: list[Tensor]) -> Tensor:
        record = torch.zeros(STEPS, len(spikes[0]), 4)
        for t, spike in enumerate(spikes):
            record[t, :, :] = spike
        return record

    net, x = network(returned=returned), still()
    with torch.no_grad():
        own = net(torch.from_numpy(x)).sum(0).double().numpy()
    assert (graph_says(net, x, "direct") == own).all(axis=1).mean() >= 0.95


def test_a_mean_over_a_map_is_a_pooling_of_all_of_it() -> None:
    class Pooled(nn.Module):
        def __init__(self, axes: Any) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.axes, self.conv, self.fc = axes, nn.Conv2d(2, 8, 3), nn.Linear(8, 4)
            self.one, self.two = (snn.Leaky(beta=0.8, init_hidden=True) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            spikes = self.one(3 * self.conv(x))
            pooled = spikes.mean(self.axes) if self.axes else functional.adaptive_avg_pool2d(spikes, 1).flatten(1)
            return self.two(8 * self.fc(pooled))  # type: ignore[no-any-return]

    x = np.random.default_rng(0).random((20, 2, 6, 6), np.float32)
    plain = graph_says(Pooled(None), x, "direct")
    assert plain.std() > 0.1
    for axes in ((2, 3), [2, 3], (-1, -2)):
        assert np.array_equal(graph_says(Pooled(axes), x, "direct"), plain)


class Folding(nn.Module):
    """Convolutions of all timesteps at once, time and samples along one axis; neurons in a loop between them."""

    def __init__(self, fold: Any, unfold: Any, timed: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fold, self.unfold, self.timed = fold, unfold, timed
        self.conv, self.norm, self.fc = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 4)
        self.one, self.two = (snn.Leaky(beta=0.8) for _ in range(2))
        self.norm.running_mean += 0.2  # type: ignore[operator]
        with torch.no_grad():
            self.conv.weight *= 4
            self.fc.weight *= 5

    def fire(self, neurons: snn.Leaky, currents: Tensor) -> Tensor:
        membrane, spikes = neurons.init_leaky(), []
        for t in range(STEPS):
            spike, membrane = neurons(currents.select(self.timed, t), membrane)
            spikes.append(spike)
        return torch.stack(spikes, dim=self.timed)

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, self.timed) * 1.0
        shape = x.shape[:2]
        maps = self.norm(self.conv(self.fold(x, (1, 3, 4)))) * 2
        spikes = self.fire(self.one, self.unfold(maps, shape))
        pooled = functional.max_pool2d(self.fold(spikes, spikes.shape[2:]), (1, 2))
        return self.fire(self.two, self.unfold(self.fc(pooled.flatten(1)), shape)).sum(self.timed)


@pytest.mark.parametrize("timed", [0, 1], ids=["time first", "samples first"])
@pytest.mark.parametrize(
    ("fold", "unfold"),
    [
        (lambda x, s: x.flatten(0, 1).reshape(-1, *s), lambda x, s: x.unflatten(0, tuple(s))),
        (lambda x, s: x.reshape(-1, *s), lambda x, s: x.view(*s, *x.shape[1:])),
        (
            lambda x, s: x.contiguous().view(x.shape[0] * x.shape[1], *s),
            lambda x, s: x.reshape(s[0], -1, *x.shape[1:]).contiguous(),
        ),
    ],
    ids=["flatten and unflatten", "reshape and view", "view and reshape"],
)
def test_timesteps_along_the_axis_of_samples_are_timesteps(fold: Any, unfold: Any, timed: int) -> None:
    net, x = Folding(fold, unfold, timed).eval(), moving()
    with torch.no_grad():
        own = net(torch.from_numpy(x)).double().numpy()
    assert own.std(axis=0).max() > 0.5
    assert (graph_says(net, x, "frames") == own).all(axis=1).mean() >= 0.95


def half(record: list[Tensor]) -> Tensor:
    return torch.stack(record[STEPS // 2 :])


@pytest.mark.parametrize(
    ("methods", "message", "hint"),
    [
        ({"returned": lambda s, h, r, m: half(r)}, "outputs of some timesteps, not of all", "all timesteps"),
        (
            {"returned": lambda s, h, r, m: torch.stack(r[::2])},
            "outputs of some timesteps, not of all",
            "all timesteps",
        ),
        ({"returned": lambda s, h, r, m: half(m)}, "membranes of some timesteps, not of all", "all timesteps"),
        ({"returned": lambda s, h, r, m: (torch.stack(h), half(r))}, "outputs of some timesteps, not of all", ""),
        ({"returned": lambda s, h, r, m: (torch.stack(h), sum(r).argmax(1))}, "argmax", "leave it out"),
        ({"returned": lambda s, h, r, m: s.fc2(h[-1])}, "outputs of one timestep, or of some", "all timesteps"),
        ({"returned": lambda s, h, r, m: s.fc2(half(h))}, "outputs of some timesteps, not of all", "all timesteps"),
        ({"current": lambda s, x: 0.3 * torch.tanh(s.fc1(x))}, "mul: of what comes of tanh", ""),
        ({"at": lambda s, x, t: (x > 0).float()}, "gt", "as they are"),
        ({"current": lambda s, x: functional.dropout(s.fc1(x), 0.2)}, "active after training", ""),
        ({"current": lambda s, x: torch.div(torch.ones(20), s.fc1(x))}, "of a constant by a tensor", ""),
        ({"returned": lambda s, h, r, m: torch.stack(r).sum(0).argmax(1)}, "argmax", "leave it out"),
        ({"current": lambda s, x: s.fc1(x.view(-1, 6, 2)[:, :, :1].repeat(1, 1, 2).flatten(1))}, "__getitem__", ""),
        ({"current": lambda s, x: s.fc1(x).repeat(1, 2)[:, :20]}, "repeat: of what is no time", "the same x"),
        ({"current": lambda s, x: torch.sigmoid(s.fc1(x))}, "sigmoid: in the middle", "train the network with them"),
        ({"current": lambda s, x: torch.einsum("nf,hf->nh", x, s.fc1.weight)}, "einsum", "functional.linear"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(methods: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SneError, match=message) as refused:
        quantize_network(network(**methods), "own", still(), timesteps=STEPS)
    assert hint in refused.value.hint


def test_of_outputs_the_one_that_has_all_timesteps_is_decoded() -> None:
    net, x = network(returned=lambda s, h, r, m: (torch.stack(r), half(m))), still()
    with torch.no_grad():
        own = net(torch.from_numpy(x))[0].sum(0).double().numpy()
    assert (graph_says(net, x, "direct") == own).all(axis=1).mean() >= 0.95


@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid])
def test_values_that_end_in_a_function_are_none_that_integers_have(function: Any) -> None:
    net = network(returned=lambda s, h, r, m: function(torch.stack(m).mean(0)))
    with pytest.raises(SneError, match=f"values of {function.__name__}"):
        quantize_network(net, "own", still(), timesteps=STEPS, task="regression")
    quantize_network(net, "own", still(), timesteps=STEPS, warn_below=0.8)


def test_a_population_that_votes_is_told_of_and_read_as_the_hint_says() -> None:
    labels = np.arange(60) % 2
    with pytest.warns(SneWarning, match=r"4 outputs for 2 classes.*spk_rec\.view\(timesteps, -1, 2, 2\)\.sum\(-1\)"):
        quantize_network(network(), "votes", still(), labels=labels, timesteps=STEPS, warn_below=0.5)
    votes = network(returned=lambda s, h, r, m: torch.stack(r).view(STEPS, -1, 2, 2).sum(-1))
    made = quantize_network(votes, "votes", still(), timesteps=STEPS, warn_below=0.5)
    assert len(made.classes) == 2


def test_a_forward_that_decides_by_its_spikes_is_told_of() -> None:
    class Deciding(Net):
        def forward(self, x: Tensor) -> Tensor:
            made = Net.forward(self, x)
            return made if made.sum() >= 0 else -made  # type: ignore[no-any-return]

    with pytest.warns(SneWarning, match="decides by what its neurons say"):
        quantize_network(Deciding().eval(), "own", still(), timesteps=STEPS)


def test_spikes_may_be_logged_and_data_taken() -> None:
    logged: list[Any] = []

    def current(self: Net, x: Tensor) -> Tensor:
        logged.append((x.cpu().numpy(), x.sum().item(), x.tolist(), x.grad, x.grad_fn, x.shape, x.device, x.is_leaf))
        return self.fc1(x.data)  # type: ignore[no-any-return]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(
            graph_says(network(current=current), still(), "direct"), graph_says(network(), still(), "direct")
        )
    assert logged


def test_a_raster_without_its_encoder_is_told_of_it() -> None:
    with pytest.raises(SneError, match="__getitem__") as refused:
        quantize_network(network(**MOVING["plain"]), "own", moving(), timesteps=STEPS)
    assert "encoder='events'" in refused.value.hint


def test_dropout_that_is_off_is_nothing() -> None:
    net = network(current=lambda s, x: functional.dropout(s.fc1(x), 0.2, training=s.training))
    assert np.array_equal(graph_says(net, still(), "direct"), graph_says(network(), still(), "direct"))


def test_outputs_that_are_all_alike_are_told_of() -> None:
    net = network()
    net.lif2.threshold = torch.tensor(1e6)
    with pytest.warns(SneWarning, match="labels agree, but outputs follow"):
        quantize_network(net, "own", still(), timesteps=STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_network(network(), "own", still(), timesteps=STEPS, warn_below=0.5)


def test_a_module_named_like_the_readout_is_no_readout() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.readout, self.out = nn.Linear(12, 4), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.readout(4 * self.fc(x)))  # type: ignore[no-any-return]

    net, x = Named(), still()
    made = quantize_network(net, "own", x, timesteps=STEPS, warn_below=0.8)
    assert [p.name for p in made.students[0].graph.populations] == ["readout", "readout_"]  # type: ignore[union-attr]
    assert made.provenance["correlation"] > 0.98
