"""Networks of one's own, held against their own `forward` on raw inputs: what is read right, what is refused, what is
said. No test here asks our own reading of a network what the network says."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from sne_edge.check.reference import run
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.inputs import make_encoder
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.neuron import INT16
from sne_edge.learn.neurons import LIF

CLASSES, STEPS = 4, 4


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Warnings are errors, but for tests that look for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SneWarning)
        yield


def leaky(beta: float = 0.5, **options: Any) -> snn.Leaky:
    return snn.Leaky(beta=beta, init_hidden=True, **options)


def says(network: nn.Module, frames: torch.Tensor) -> np.ndarray:
    """Labels by the network's own `forward`, frames [timesteps, N, ...]."""
    training = network.training
    network.eval()
    for module in network.modules():
        if isinstance(module, snn.Leaky):
            module.mem = torch.zeros(0)
    with torch.no_grad():
        labels: np.ndarray = sum(network(frame) for frame in frames).argmax(dim=1).numpy()
    network.train(training)
    return labels


def constant(x: np.ndarray | torch.Tensor) -> torch.Tensor:
    x = torch.as_tensor(x).float()
    return x.expand(STEPS, *x.shape)


def integers(made: QuantEnsemble, x: np.ndarray) -> np.ndarray:
    labels: np.ndarray = run(made, made.encoder.encode(x)).decisions.label
    return labels


def patterns(shape: tuple[int, ...], count: int = 240, seed: int = 0, noise: float = 0.4) -> tuple[np.ndarray, ...]:
    """Samples around a pattern for each class, float32 [count, *shape], and their labels."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(CLASSES, *shape))
    y = rng.integers(0, CLASSES, count)
    return (means[y] + noise * rng.normal(size=(count, *shape))).astype(np.float32), y


def trained(network: nn.Sequential, x: np.ndarray, y: np.ndarray, epochs: int = 12) -> nn.Sequential:
    """The network as its own forward learns it from samples as they are."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    inputs, labels = torch.tensor(x), torch.tensor(y)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(40):
            utils.reset(network)
            logits = sum(network(inputs[part]) for _ in range(STEPS)) / STEPS
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, labels[part]).backward()
            optimizer.step()
    return network


def dense(inputs: int, neurons: Callable[[], nn.Module] = leaky) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, 24), neurons(), nn.Linear(24, 16), neurons(), nn.Linear(16, CLASSES))


def line(channels: int, length: int) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv1d(channels, 8, 3), leaky(), nn.Flatten(), nn.Linear(8 * (length - 2), CLASSES))


def image(channels: int, height: int, width: int) -> nn.Sequential:
    torch.manual_seed(1)
    out = 8 * (height - 2) * (width - 2)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), leaky(), nn.Flatten(), nn.Linear(out, CLASSES))


def flat_image(channels: int, height: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *dense(channels * height * width))


LAYOUTS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...], str | None, str | None]] = {
    # network, a sample's shape as the network takes it, layout in which we give the samples, layout stated
    "1-D, channels first": (lambda: line(6, 20), (6, 20), "NCL", None),
    "1-D, channels last": (lambda: line(6, 20), (6, 20), "NLC", None),
    "1-D, one channel": (lambda: line(1, 20), (1, 20), "NCL", None),
    "1-D, as many channels as long, stated": (lambda: line(8, 8), (8, 8), "NLC", "NLC"),
    "images, channels first": (lambda: image(3, 7, 6), (3, 7, 6), "NCHW", None),
    "images, channels last": (lambda: image(3, 7, 6), (3, 7, 6), "NHWC", None),
    "images, grey, channels first": (lambda: image(1, 7, 6), (1, 7, 6), "NCHW", None),
    "images as wide as channels, stated": (lambda: image(6, 7, 6), (6, 7, 6), "NHWC", "NHWC"),
    "images, flattened": (lambda: flat_image(3, 7, 6), (3, 7, 6), "NCHW", None),
    "images, grey, flattened": (lambda: flat_image(1, 7, 6), (1, 7, 6), "NCHW", None),
    "images, channels last, flattened, stated": (lambda: flat_image(3, 7, 6), (3, 7, 6), "NHWC", "NHWC"),
    "flat": (lambda: dense(12), (12,), "NL", None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_integers_label_raw_samples_like_the_networks_own_forward_whatever_their_layout(name: str) -> None:
    make, shape, given, stated = LAYOUTS[name]
    network = make()
    x, y = patterns(shape)
    trained(network, x, y)
    raw, labels = patterns(shape, 200, seed=5, noise=0.8)
    own = {3: "NCL", 4: "NCHW", 2: "NL"}[raw.ndim]
    turned = raw.transpose([own.index(axis) for axis in given])
    made = quantize_network(network, "own", turned, timesteps=STEPS, labels=labels, layout=stated)
    expected = says(network, constant(raw))
    assert (expected == labels).mean() > 0.8, "the network has learnt"
    channel_last = raw if raw.ndim == 2 else np.moveaxis(raw, 1, -1)
    flat_order = raw if made.encoder.shape[2] == 1 else channel_last
    agreement = (integers(made, flat_order) == expected).mean()
    assert agreement > 0.95
    assert made.provenance["agreement"] == pytest.approx(agreement)
    assert made.provenance["accuracy"]["float"] == pytest.approx((expected == labels).mean())


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: line(8, 8), (8, 8)),
        (lambda: image(6, 7, 6), (6, 7, 6)),
        (lambda: line(6, 20), (5, 20)),
        (lambda: image(3, 7, 6), (7, 6)),
    ],
    ids=["1-D, square", "as wide as channels", "other channels", "no channels"],
)
def test_a_layout_that_the_network_leaves_open_or_refutes_is_asked_for(make: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(SneError) as caught:
        quantize_network(make(), "own", patterns(shape)[0], timesteps=STEPS)
    assert "layout" in caught.value.hint


def raster(count: int, steps: int, inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Spikes of six classes in similar pairs, so that two logits grow together over time; labels."""
    rates = np.random.default_rng(7).random((3, inputs)).repeat(2, axis=0) * 0.4
    rates += (np.random.default_rng(8).random(rates.shape) < 0.3) * 0.3
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 6, count)
    return (rng.random((count, steps, inputs)) < rates[y][:, None]).astype(np.float32), y


@pytest.mark.parametrize("steps", [64, 200])
def test_a_network_of_events_keeps_its_labels_over_many_timesteps(steps: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(48, 48), leaky(), nn.Linear(48, 48), leaky(), nn.Linear(48, 6))
    x, y = raster(256, 32, 48)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(8):
        for part in torch.randperm(len(x)).split(32):
            utils.reset(network)
            every = torch.tensor(x[part]).unbind(1)
            loss = nn.functional.cross_entropy(sum(map(network, every)) / len(every), torch.tensor(y[part]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    x, y = raster(160, steps, 48, seed=1)
    made = quantize_network(network, "own", x, timesteps=steps, encoder="events", labels=y)
    expected = says(network, torch.tensor(x).unbind(1))
    assert (expected == y).mean() > 0.9, "the network has learnt"
    assert (integers(made, x) == expected).mean() > 0.98
    assert not made.provenance["saturated"]


@pytest.mark.parametrize(("hidden", "steps"), [(1000, 25), (16, 1)])
def test_a_readout_of_events_holds_more_than_any_raster_brings(hidden: int, steps: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(784, hidden), leaky(0.9), nn.Linear(hidden, 10))
    x = (np.random.default_rng(0).random((24, steps, 784)) < 0.3).astype(np.float32)
    made = quantize_network(network, "own", x, timesteps=steps, encoder="events", fail_below=0, warn_below=0)
    readout = made.students[0].readout
    most = int(np.abs(readout.weight.astype(int)).sum(axis=1).max()) * steps
    clamp = readout.neuron.clamp
    assert clamp is not None and clamp[1] >= most and clamp[1] >= 2**22 and clamp[0] == -clamp[1]
    scales = readout.scale / made.logit_scale
    assert np.allclose(scales, made.students[0].gain, rtol=1e-12), "gains hold the scales of classes exactly"


@pytest.mark.parametrize(("threshold", "width"), [(1.0, 16), (300.0, 32)])
def test_neurons_without_leak_meet_no_clamp_in_a_raster_of_events(threshold: float, width: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 8), leaky(1.0, threshold=threshold), nn.Linear(8, 3))
    x = np.random.default_rng(0).integers(0, 2, (40, 6, 12))
    made = quantize_network(network, "own", x, timesteps=6, encoder="events", fail_below=0, warn_below=0)
    layer = made.students[0].layers[0]
    clamp = layer.neuron.clamp  # type: ignore[union-attr]
    weights = layer.weight.astype(int)  # type: ignore[union-attr]
    most = 6 * max(np.maximum(weights, 0).sum(axis=1).max(), -np.minimum(weights, 0).sum(axis=1).min())
    assert clamp is not None and clamp[1] >= min(most, INT16[1] if width == 16 else most)
    assert clamp[1] >= 4 * layer.threshold.max() and layer.width == width  # type: ignore[union-attr]


def test_membranes_that_a_clamp_holds_back_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from sne_edge.quantize import chain

    monkeypatch.setattr(chain, "READOUT_LEAST", 2**6)
    monkeypatch.setattr(chain, "READOUT_MOST", 2**6)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 8), leaky(threshold=0.1), nn.Linear(8, 3))
    x = np.random.default_rng(0).integers(0, 2, (40, 20, 12))
    with pytest.warns(SneWarning, match=r"% of the membranes of the readout are at their clamp"):
        made = quantize_network(network, "own", x, timesteps=20, encoder="events", fail_below=0, warn_below=0)
    assert made.provenance["saturated"]["the readout"] > 0.2


class Plain(nn.Sequential):
    """Only builds its layers."""

    def __init__(self) -> None:
        super().__init__(*dense(12))


class Loud(snn.Leaky):
    def fire(self, mem: torch.Tensor) -> torch.Tensor:
        return 3 * super().fire(mem)


def hooked(method: str) -> nn.Sequential:
    network = dense(12)
    getattr(network[2], method)(lambda *a: a[-1] * 2 if method == "register_forward_hook" else None)
    return network


def replaced() -> nn.Sequential:
    network = dense(12)
    network[0].forward = lambda x: torch.zeros(len(x), 24)  # type: ignore[method-assign]
    return network


def loud() -> nn.Sequential:
    network = dense(12)
    network[1].fire = lambda mem: (mem > 0.1).float()  # type: ignore[assignment]
    return network


def used_twice() -> nn.Sequential:
    one = leaky()
    return nn.Sequential(nn.Linear(12, 12), one, nn.Linear(12, 12), one, nn.Linear(12, CLASSES))


def block_twice() -> nn.Sequential:
    block = nn.Sequential(nn.Linear(12, 12), leaky())
    return nn.Sequential(block, block, nn.Linear(12, CLASSES))


def changed(**settings: Any) -> nn.Sequential:
    network = dense(12)
    for key, value in settings.items():
        setattr(network[1], key, value)
    return network


def loaded() -> nn.Sequential:
    """What a checkpoint of neurons with another reset makes of them: they go on resetting as they were made."""
    network = dense(12)
    network.load_state_dict(dense(12, lambda: leaky(reset_mechanism="zero")).state_dict())
    return network


class Wrapped(nn.Module):
    """A network that is no chain, and is followed."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(x)
        return result


OTHERWISE: dict[str, tuple[Callable[[], nn.Sequential], str]] = {
    "a subclass of Leaky": (lambda: dense(12, lambda: Loud(beta=0.5, init_hidden=True)), "Loud"),
    "a forward hook": (lambda: hooked("register_forward_hook"), "forward hooks"),
    "a forward pre-hook": (lambda: hooked("register_forward_pre_hook"), "forward hooks"),
    "a replaced forward": (replaced, "forward of its own"),
    "a replaced method of neurons": (loud, "fire of its own"),
    "neurons used twice": (used_twice, "used twice|2 times"),
    "a block with neurons used twice": (block_twice, "used twice|2 times"),
    "graded spikes of at most 1": (
        lambda: dense(12, lambda: leaky(graded_spikes_factor=torch.tensor(0.5))),
        "graded spikes",
    ),
    "graded spikes, the largest 1": (
        lambda: nn.Sequential(
            nn.Linear(12, 4), leaky(graded_spikes_factor=torch.tensor([1.0, 0.5, 1, 1])), nn.Linear(4, CLASSES)
        ),
        "graded spikes",
    ),
    "a reset changed after the fact": (lambda: changed(reset_mechanism="zero"), "made with another"),
    "a reset of a checkpoint": (loaded, "made with another"),
    "a surrogate that is no step": (lambda: changed(spike_grad=torch.sigmoid), "no step"),
}
FOLLOWED_RIGHTLY = ("a forward hook", "a forward pre-hook", "a replaced forward")  # of layers that are no neurons


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_network_that_is_not_what_its_classes_say_is_refused_by_name(name: str) -> None:
    make, word = OTHERWISE[name]
    with pytest.raises(SneError, match=word) as caught:
        quantize_network(make(), "own", patterns((12,))[0], timesteps=STEPS)
    assert caught.value.hint


@pytest.mark.parametrize("name", [name for name in OTHERWISE if name not in FOLLOWED_RIGHTLY])
def test_it_is_refused_where_it_is_followed_too(name: str) -> None:
    make, word = OTHERWISE[name]
    with pytest.raises(SneError, match=word) as caught:
        quantize_network(Wrapped(make()), "own", patterns((12,))[0], timesteps=STEPS)
    assert caught.value.hint


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_neurons_that_keep_their_membranes_fire_like_those_that_are_given_them(reset: str) -> None:
    currents = torch.randn(9, 5, 7, generator=torch.Generator().manual_seed(0))
    own, given, membrane = LIF(2, 0.4, reset, init_hidden=True), LIF(2, 0.4, reset), None
    total = 0.0
    for current in currents:
        spike, membrane = given(current, membrane)
        assert torch.equal(own(current), spike)
        total += float(spike.sum())
    assert total > 20
    assert own(currents[0, :3]).shape == (3, 7), "other samples start at rest"


def thresholds_by_channel() -> nn.Sequential:
    network = line(1, 12)
    network[1].threshold = torch.linspace(0.3, 1.5, 8).reshape(8, 1)
    return network


def tied() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(12, 12), leaky(), nn.Linear(12, 12), leaky(), nn.Linear(12, CLASSES))
    network[2].weight = network[0].weight
    return network


def layer_twice() -> nn.Sequential:
    layer = nn.Linear(12, 12)
    return nn.Sequential(layer, leaky(), layer, leaky(), nn.Linear(12, CLASSES))


def pruned() -> nn.Sequential:
    network = dense(12)
    for n in (0, 2):
        prune.l1_unstructured(network[n], "weight", 0.5)
    return network


def on_each_weight(function: Callable[[nn.Module], Any]) -> Callable[[], nn.Sequential]:
    def make() -> nn.Sequential:
        network = dense(12)
        for n in (0, 2, 4):
            function(network[n])
        return network

    return make


def by_hidden_state() -> nn.Sequential:
    return dense(12, lambda: LIF(init_hidden=True))


TRAINED: dict[str, Callable[[], nn.Sequential]] = {
    "plain": lambda: dense(12),
    "a Sequential that only builds": Plain,
    "our own LIF": by_hidden_state,
    "thresholds by channel": thresholds_by_channel,
    "tied weights": tied,
    "one linear layer twice": layer_twice,
    "pruned": pruned,
    "weight norm": on_each_weight(weight_norm),
    "weight norm, parametrised": on_each_weight(parametrizations.weight_norm),
    "spectral norm": on_each_weight(spectral_norm),
    "orthogonal": on_each_weight(parametrizations.orthogonal),
    "batch norm and dropout": lambda: nn.Sequential(
        nn.Linear(12, 24), nn.BatchNorm1d(24), leaky(), nn.Dropout(0.2), nn.Linear(24, CLASSES)
    ),
}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_network_right_from_training_is_read_as_its_own_forward_computes_and_left_as_it_is(name: str) -> None:
    network = TRAINED[name]()
    shape = (1, 12) if isinstance(network[0], nn.Conv1d) else (12,)
    trained(network, *patterns(shape))
    x, y = patterns(shape, 200, seed=5, noise=0.8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    made = quantize_network(network, "own", x, timesteps=STEPS, labels=y)
    assert network.training
    expected = says(network, constant(x))
    assert (expected == y).mean() > 0.6, "the network has learnt"
    assert (integers(made, x) == expected).mean() > 0.95
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_and_samples_of_other_types_are_converted(dtype: torch.dtype) -> None:
    network = trained(dense(12), *patterns((12,)))
    x, y = patterns((12,), 200, seed=5, noise=0.8)
    expected = says(network, constant(x))
    made = quantize_network(
        network.to(dtype), "own", torch.tensor(x).to(dtype).requires_grad_(),
        timesteps=STEPS, labels=torch.tensor(y),
    )  # fmt: skip
    assert (integers(made, x) == expected).mean() > 0.95


def test_a_network_without_its_weights_is_refused() -> None:
    network = nn.Sequential(nn.Linear(12, 4), leaky(), nn.Linear(4, CLASSES)).to("meta")
    with pytest.raises(SneError, match="cannot be copied"):
        quantize_network(network, "own", patterns((12,))[0], timesteps=STEPS)


def test_one_glitch_among_the_samples_does_not_set_the_inputs_scale() -> None:
    network = trained(dense(12), *patterns((12,)))
    x, y = patterns((12,), 200, seed=5, noise=0.8)
    clean = quantize_network(network, "own", x, timesteps=STEPS, labels=y)
    spoilt = x.copy()
    spoilt[17, 3] = 200 * np.abs(x).max()
    with pytest.warns(SneWarning, match=r"0\.04% of the values are beyond what the input holds and are clipped"):
        made = quantize_network(network, "own", spoilt, timesteps=STEPS, labels=y)
    assert made.encoder.scale == pytest.approx(clean.encoder.scale, rel=0.3)
    assert (integers(made, x) == says(network, constant(x))).mean() > 0.95
    assert made.provenance["clipped"] == pytest.approx(1 / spoilt.size)
    ruined = quantize_network(
        network, "own", spoilt, timesteps=STEPS, scale=float(spoilt.max()) / 127, warn_below=0, fail_below=0
    )
    assert ruined.provenance["agreement"] < 0.6, "the old scale: the witness sees it"


def test_agreement_below_the_limits_warns_or_fails() -> None:
    network = trained(dense(12), *patterns((12,)))
    x, _ = patterns((12,), 200, seed=5, noise=0.8)
    coarse = float(np.abs(x).max())
    with pytest.raises(SneError, match="like the network itself, less than 80%"):
        quantize_network(network, "own", x, timesteps=STEPS, scale=coarse)
    with pytest.warns(SneWarning, match="like the network itself"):
        made = quantize_network(network, "own", x, timesteps=STEPS, scale=coarse, fail_below=0)
    assert made.provenance["agreement"] == pytest.approx((integers(made, x) == says(network, constant(x))).mean())
    quantize_network(network, "own", x, timesteps=STEPS, scale=coarse / 20, warn_below=0.3, fail_below=0.2)
    with pytest.raises(SneError, match="agreement of 95"):
        quantize_network(network, "own", x, timesteps=STEPS, warn_below=95)


def test_a_network_that_knows_nothing_of_the_samples_is_pointed_out() -> None:
    x, y = patterns((12,), 200)
    with pytest.warns(SneWarning, match="the network itself is right on"):
        quantize_network(trained(dense(12), x, y), "own", x, timesteps=STEPS, labels=(y + 1) % CLASSES)


def test_an_inputs_offset_is_part_of_what_the_first_layer_sees() -> None:
    network = trained(dense(12), *(patterns((12,))[0] + 5, patterns((12,))[1]))
    x, y = patterns((12,), 200, seed=5, noise=0.8)
    made = quantize_network(network, "own", x + 5, timesteps=STEPS, labels=y, offset=5.0)
    assert made.encoder.offset == 5 and made.encoder.scale < np.abs(x).max() / 120
    assert (integers(made, x + 5) == says(network, constant(x + 5))).mean() > 0.95
    alone = trained(nn.Sequential(nn.Linear(12, CLASSES)), x + 5, y)
    made = quantize_network(alone, "own", x + 5, timesteps=STEPS, offset=5.0)
    assert (integers(made, x + 5) == says(alone, constant(x + 5))).mean() > 0.95
    padded = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), leaky(), nn.Flatten(), nn.Linear(48, CLASSES))
    with pytest.raises(SneError, match="pads its input"):
        quantize_network(padded, "own", x + 5, timesteps=STEPS, offset=5.0)


@pytest.mark.parametrize("full", [0.4, 1.0])
def test_a_rate_is_a_spikes_probability_whatever_the_largest_sample(full: float) -> None:
    x = np.linspace(0, full, 32, dtype=np.float32)[None].repeat(8, axis=0)
    encoder = make_encoder("rate", x, 4000)
    found = encoder.spikes(encoder.encode(x[:1])).reshape(4000, 32).mean(axis=0)
    assert np.abs(found - x[0]).max() < 0.03


def test_values_that_are_no_probabilities_are_refused_as_rates_or_pointed_out() -> None:
    network = dense(12)
    x, _ = patterns((12,))
    with pytest.raises(SneError, match=r"outside 0\.\.1"):
        quantize_network(network, "own", x, timesteps=STEPS, encoder="rate")
    with pytest.warns(SneWarning, match="negative as rates, and never spike"):
        quantize_network(
            network, "own", x, timesteps=STEPS, encoder="rate", scale=float(x.max()) / 127, warn_below=0, fail_below=0
        )


def test_rates_are_held_against_the_network_on_their_spikes() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 6, 3), leaky(), nn.Flatten(), nn.Linear(6 * 3 * 4, CLASSES))
    x = np.random.default_rng(0).random((60, 2, 5, 6))
    made = quantize_network(network, "own", x, timesteps=12, encoder="rate", warn_below=0)
    spikes = made.encoder.spikes(made.encoder.encode(np.moveaxis(x, 1, -1)))
    expected = says(network, torch.tensor(spikes).float().movedim(-1, 2))
    assert made.provenance["agreement"] == (integers(made, np.moveaxis(x, 1, -1)) == expected).mean() > 0.85


@pytest.mark.parametrize("layout", [None, "NTHWC"])
def test_frames_of_events_are_read_channels_first_as_tonic_makes_them(layout: str | None) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 6, 3), leaky(), nn.Flatten(), nn.Linear(6 * 3 * 4, CLASSES))
    x = (np.random.default_rng(0).random((60, 9, 2, 5, 6)) < 0.3).astype(np.float32)
    given = x if layout is None else np.moveaxis(x, 2, -1)
    made = quantize_network(network, "own", given, timesteps=9, encoder="events", layout=layout, warn_below=0)
    expected = says(network, torch.tensor(x).movedim(1, 0))
    assert made.encoder.shape == (5, 6, 2)
    assert made.provenance["agreement"] == (integers(made, np.moveaxis(x, 2, -1)) == expected).mean() > 0.85


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"layout": "NXY"}, "no layout"),
        ({"layout": "NCL"}, "names 3 axes"),
        ({"layout": "NTL", "encoder": "events"}, "names 3 axes"),
        ({"labels": [0, 1]}, "labels are"),
        ({"labels": np.full(240, 9)}, "labels are"),
        ({"encoder": Encoder("direct", (1, 12, 1), 3)}, "timesteps"),
        ({"encoder": Encoder("direct", (1, 13, 1), STEPS)}, "do not fit"),
        ({"encoder": Encoder("direct", (1, 12, 1), STEPS), "scale": 1.0}, "scale"),
        ({"encoder": "morse"}, "morse"),
        ({"scale": 0.0}, "scale"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(SneError, match=word) as caught:
        quantize_network(dense(12), "own", patterns((12,))[0], timesteps=STEPS, **options)
    assert caught.value.hint
