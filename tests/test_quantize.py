"""Quantisation of anyone's network: what is kept exactly, what is proved, what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from sne_edge.check.reference import run, run_student
from sne_edge.deploy.analysis import analyze
from sne_edge.errors import SneError
from sne_edge.interchange.inputs import make_encoder
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, SynapticLayer, size
from sne_edge.learn.neurons import LIF

RNG = np.random.default_rng(0)
LINE, IMAGE = RNG.normal(size=(40, 12)), RNG.normal(size=(40, 7, 6, 2))


def leaky(**options) -> snn.Leaky:
    return snn.Leaky(**({"beta": 0.5, "reset_delay": False} | options))


def dense(*neurons: nn.Module, out: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers, width = [], 12
    for neuron in neurons:
        layers += [nn.Linear(width, 8), neuron]
        width = 8
    return nn.Sequential(*layers, nn.Linear(width, out))


def image_net(*pools: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    width = nn.Sequential(*pools, nn.Flatten())(torch.zeros(1, 4, 7, 6)).shape[1]
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), LIF(), *pools, nn.Flatten(), nn.Linear(width, 3))


def grid(network: nn.Sequential) -> nn.Sequential:
    """Weights become multiples of 1/64 reaching 127/64, so that integers hold the network without any rounding."""
    for module in network:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            shape = module.weight.shape
            whole = torch.randint(-40, 60, shape, generator=torch.Generator().manual_seed(1)).float()
            whole.view(shape[0], -1)[:, 0] = 127
            module.weight.data, module.bias.data = whole / 64, torch.round(module.bias.data * 64) / 64
    return network


def binary(count: int, timesteps: int, size: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, size=(count, timesteps, size))


def float_spikes(network: nn.Sequential, raster: torch.Tensor) -> list[np.ndarray]:
    """Spike counts by layer of neurons [N], by a plain loop over timesteps [T, N, ...]."""
    membranes, counts = {}, {}
    for frame in raster:
        x = frame
        for n, module in enumerate(network):
            if isinstance(module, snn.Leaky):
                x, membranes[n] = module(x, membranes.get(n, torch.zeros_like(x)))
                counts[n] = counts.get(n, 0) + x.flatten(1).sum(dim=1).detach().numpy()
            else:
                x = module(x)
    return list(counts.values())


@pytest.mark.parametrize(
    "neuron",
    [
        lambda: leaky(beta=1.0, reset_delay=True, threshold=3.0),
        lambda: leaky(beta=1.0, reset_mechanism="zero", threshold=3.0),
        lambda: leaky(beta=0.0, threshold=2.0, reset_delay=True),
    ],
    ids=["if, delayed", "if, to zero", "no memory"],
)
def test_a_network_that_integers_can_hold_fires_the_same_spikes(neuron):
    network = grid(dense(neuron(), neuron()))
    raster = binary(20, 5, 12)
    made = quantize_network(network, "own", raster, timesteps=5, encoder=Encoder("events", (1, 12, 1), 5))
    trace = run_student(made, 0, made.encoder.encode(raster))
    expected = float_spikes(network, torch.from_numpy(raster.astype(np.float32)).transpose(0, 1))
    assert trace.spikes.sum() > 0
    assert np.array_equal(trace.spikes, np.stack(expected, axis=1))


def test_a_depthwise_convolution_that_integers_can_hold_fires_the_same_spikes():
    torch.manual_seed(0)
    unit = lambda: leaky(beta=1.0, reset_delay=True, threshold=3.0)  # noqa: E731
    separable = nn.Conv1d(4, 4, 3, padding=1, groups=4), unit(), nn.Conv1d(4, 5, 1), unit()
    network = grid(nn.Sequential(nn.Conv1d(1, 4, 3), unit(), *separable, nn.Flatten(), nn.Linear(50, 3)))
    raster = binary(20, 5, 12)
    made = quantize_network(network, "own", raster, timesteps=5, encoder=Encoder("events", (1, 12, 1), 5))
    assert isinstance(made.students[0].layers[1], Depthwise)
    frames = torch.from_numpy(raster.astype(np.float32)).transpose(0, 1)[:, :, None]
    trace = run_student(made, 0, made.encoder.encode(raster))
    assert np.array_equal(trace.spikes, np.stack(float_spikes(network, frames), axis=1)) and trace.spikes.all(0).any()


@pytest.mark.parametrize("timesteps", [1, 6])
@pytest.mark.parametrize("kind", ["direct", "rate"])
def test_most_samples_keep_their_label(kind: str, timesteps: int):
    network = dense(leaky(beta=0.9, reset_delay=True, threshold=0.2), LIF(2, threshold=0.2))
    samples = LINE if kind == "direct" else np.abs(LINE) / np.abs(LINE).max()
    encoder = make_encoder(kind, samples, timesteps)
    made = quantize_network(network, "own", samples, timesteps=timesteps, encoder=encoder)
    assert made.provenance["agreement"] > 0.85
    assert len(made.vectors.inputs) == 32 and made.students[0].mean_ops > 0


POOLS = {
    "none": (),
    "average": (nn.AvgPool2d(2),),
    "overlapping average": (nn.AvgPool2d(3, stride=1, padding=1),),
    "maximum": (nn.MaxPool2d((2, 3)),),
}


@pytest.mark.parametrize("pool", POOLS)
def test_a_linear_layer_after_maps_reads_them_channel_last_and_pools_are_folded(pool: str):
    network = image_net(*POOLS[pool])
    made = quantize_network(network, "own", IMAGE, timesteps=4)
    x = (
        torch.from_numpy(np.rint(IMAGE / made.encoder.scale).clip(-128, 127) * made.encoder.scale)
        .float()
        .movedim(-1, 1)
    )
    counts = 0
    current, membrane = network[0](x), None
    with torch.no_grad():
        for _ in range(4):
            spike, membrane = network[1](current, membrane)
            counts = counts + nn.Sequential(*network[2:-1])(spike)
        expected = network[-1](counts / 4).numpy()
    logits = run(made, made.encoder.encode(IMAGE)).decisions.logits * made.logit_scale
    assert np.abs(logits - expected).mean() < 0.03 * expected.std() + 1e-3
    assert made.provenance["agreement"] > 0.9


def test_1d_convolutions_lie_along_the_width():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 4, 5, stride=2, padding=2), LIF(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(12, 3)
    )
    made = quantize_network(network, "own", LINE, timesteps=4)
    first, pool = made.students[0].layers[:2]
    assert (
        isinstance(first, Conv) and first.kernel == (1, 5) and first.stride == (1, 2) and first.out_shape == (1, 6, 4)
    )
    assert isinstance(pool, AvgPool) and pool.kernel == (1, 2)
    assert made.provenance["agreement"] > 0.9


def test_same_padding_and_nested_blocks_and_dropout_are_understood():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.BatchNorm2d(4), LIF(), nn.Dropout(0.5))
    network = nn.Sequential(block, nn.Flatten(), nn.Linear(168, 3))
    made = quantize_network(network, "own", IMAGE, timesteps=3)
    assert made.students[0].layers[0].out_shape == (7, 6, 4)
    assert network.training, "the network given is left as it was"


@pytest.mark.parametrize(
    ("beta", "kind", "value"),
    [(0.5, "shift", 1), (0.875, "shift", 3), (1.0, "none", 0), (0.9, "q15", 29491), (0.0, "q15", 0)],
)
def test_a_beta_becomes_the_cheapest_exact_decay(beta: float, kind: str, value: int):
    made = quantize_network(dense(leaky(beta=beta)), "own", LINE, timesteps=3)
    decay = made.students[0].layers[0].neuron.decay
    assert (decay.kind, decay.value) == (kind, value)


@pytest.mark.parametrize("delay", [False, True])
def test_the_order_of_reset_is_kept(delay: bool):
    made = quantize_network(dense(leaky(reset_delay=delay)), "own", LINE, timesteps=3)
    assert made.students[0].layers[0].neuron.reset_delay is delay


def test_learnt_betas_and_thresholds_are_read():
    made = quantize_network(
        dense(leaky(beta=torch.tensor(0.75), learn_beta=True, threshold=torch.full((8,), 0.5), learn_threshold=True)),
        "own", LINE, timesteps=3,
    )  # fmt: skip
    layer = made.students[0].layers[0]
    assert layer.neuron.decay.value == 2
    assert np.allclose(layer.threshold * layer.scale, 0.5)


def test_a_network_fresh_from_training_with_hidden_state_is_taken():
    network = dense(leaky(init_hidden=True, reset_delay=True))
    network(torch.randn(4, 12)).sum().backward()
    assert quantize_network(network, "own", LINE, timesteps=3).provenance["agreement"] > 0.8


def test_channels_with_tiny_or_no_weights_do_no_harm():
    network = dense(leaky(), leaky())
    network[0].weight.data[2] = 0
    network[2].weight.data[3] *= 1e-9
    network[4].weight.data[1] = 0
    made = quantize_network(network, "own", LINE, timesteps=4)
    assert made.provenance["agreement"] > 0.8
    assert all(x.width == 16 for x in made.students[0].layers[1:] if isinstance(x, SynapticLayer))


def test_a_threshold_far_below_a_channels_weights_is_one_unit_of_its_membrane():
    network = dense(leaky(), leaky())
    network[2].weight.data[3] *= 1e6
    made = quantize_network(network, "own", LINE, timesteps=4)
    threshold = made.students[0].layers[1].threshold
    assert threshold[3] == 1 and threshold.min() == 1 and threshold.max() > 1


def test_gains_resolve_the_readouts_scales_and_logits_stay_in_range():
    network = dense(leaky())
    network[-1].weight.data *= torch.tensor([[1.0], [0.1], [0.02]])
    student = quantize_network(network, "own", LINE, timesteps=4).students[0]
    assert student.gain.max() <= 4095 and student.gain.min() >= 40
    assert np.allclose(
        student.gain / student.gain.max(), student.readout.scale / student.readout.scale.max(), atol=1e-3
    )


class Custom(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def nan_weights() -> nn.Sequential:
    network = dense(leaky())
    network[0].weight.data[0, 0] = float("nan")
    return network


chain = nn.Sequential
REFUSED = {
    "NaN weights": (nan_weights, "NaN"),
    "an unknown module": (lambda: chain(Custom(), nn.Linear(12, 3)), "no spiking neurons"),
    "an activation": (lambda: chain(nn.Linear(12, 8), nn.ReLU(), leaky(init_hidden=True), nn.Linear(8, 3)), "relu"),
    "another neuron": (lambda: dense(snn.Synaptic(alpha=0.9, beta=0.8)), "Synaptic"),
    "nothing": (lambda: chain(), "no spiking neurons"),
    "shapes that do not chain": (lambda: chain(nn.Linear(12, 8), leaky(), nn.Linear(9, 3)), "9 inputs"),
    "channels that do not chain": (
        lambda: chain(nn.Conv1d(2, 4, 3), leaky(), nn.Flatten(), nn.Linear(40, 3)),
        "channels",
    ),
    "a kernel larger than the map": (
        lambda: chain(nn.Conv1d(1, 4, 15), leaky(), nn.Flatten(), nn.Linear(4, 3)),
        "kernel",
    ),
    "groups": (
        lambda: chain(nn.Conv1d(1, 4, 3), leaky(), nn.Conv1d(4, 4, 3, groups=2), leaky(), nn.Linear(8, 3)),
        "groups",
    ),
    "an even kernel padded to the same size": (
        lambda: chain(nn.Conv1d(1, 4, 4, padding="same"), leaky(), nn.Flatten(), nn.Linear(48, 3)),
        "even kernel",
    ),
    "a threshold of zero": (lambda: dense(leaky(threshold=0.0)), "threshold"),
    "inhibition": (lambda: dense(leaky(inhibition=True)), "inhibition"),
    "pooling of the input": (lambda: chain(nn.AvgPool1d(2), nn.Flatten(), nn.Linear(6, 3)), "no spiking neurons"),
    "a single class": (lambda: dense(leaky(), out=1), "classes"),
}


def test_a_network_that_does_not_spike_is_sent_to_teach():
    for network in (chain(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)), Custom()):
        with pytest.raises(SneError) as caught:
            quantize_network(network, "own", LINE, timesteps=3)
        assert "sne-edge train --teacher" in caught.value.hint


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_deployed_is_refused_by_name_with_a_hint(name: str):
    make, word = REFUSED[name]
    with pytest.raises(SneError, match=word) as caught:
        quantize_network(make(), "own", LINE, timesteps=3)
    assert caught.value.hint


def test_a_depthwise_first_layer_is_refused():
    network = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), leaky(), nn.Flatten(), nn.Linear(40, 3))
    with pytest.raises(SneError, match="groups"):
        quantize_network(network, "own", IMAGE, timesteps=3)


def test_a_network_without_neurons_or_with_a_bad_name_is_refused():
    with pytest.raises(SneError, match="no spiking neurons"):
        quantize_network(Custom(), "own", LINE, timesteps=3)
    with pytest.raises(SneError, match="name"):
        quantize_network(dense(leaky()), "9 lives", LINE, timesteps=3)
    with pytest.raises(SneError, match="class names"):
        quantize_network(dense(leaky()), "own", LINE, timesteps=3, classes=("a",))


def test_encoders_are_made_from_samples():
    assert make_encoder("direct", LINE, 4).shape == (1, 12, 1)
    assert make_encoder("rate", np.abs(IMAGE) / 9, 4).shape == (7, 6, 2)
    assert make_encoder("rate", np.abs(IMAGE) / 9, 4).scale == 1 / 128
    assert make_encoder("direct", LINE, 4).scale == pytest.approx(np.abs(LINE).max() / 127)
    assert make_encoder("events", binary(3, 4, 12), 4, (1, 12, 1)).scale == 1.0
    assert make_encoder("events", binary(3, 4, 12), 4).shape == (1, 12, 1)
    for arguments in [("morse", LINE, 4), ("events", LINE, 4), ("direct", LINE[0], 4), ("direct", LINE * np.nan, 4)]:
        with pytest.raises(SneError):
            make_encoder(*arguments)
    with pytest.raises(SneError, match="shape"):
        make_encoder("direct", LINE, 4, (12, 1))


def test_quantising_twice_makes_the_same_ensemble():
    from sne_edge.ir.artifact import fingerprint

    one, same = (quantize_network(dense(leaky()), "own", LINE, timesteps=3) for _ in range(2))
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(msgspec.structs.replace(one, name="other"))


@pytest.mark.parametrize("flatten", [True, False])
def test_a_readout_alone_is_a_network(flatten: bool):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)
    made = quantize_network(nn.Sequential(*[nn.Flatten()] * flatten, nn.Linear(12, 3)), "alone", x, timesteps=2)
    assert made.provenance["agreement"] > 0.9 and len(made.students[0].layers) == 1


def test_4_bits_are_for_layers_between_the_first_and_the_readout_unless_said_otherwise():
    raster = binary(20, 5, 12)
    encoder = Encoder("events", (1, 12, 1), 5)
    network = dense(LIF(2, threshold=0.2), LIF(2, threshold=0.2))

    def bits(asked):
        made = quantize_network(network, "own", raster, timesteps=5, encoder=encoder, bits=asked)
        layers = made.students[0].layers
        assert all(np.abs(layer.weight).max() == 7 for layer in layers if layer.bits == 4)
        reports = analyze(made).layers
        assert [report.flash_bytes for report in reports] == [
            (12 if n == 0 else 8) * (4 if x.bits == 4 else size(x.out_shape) + 3 & ~3)
            + x.width // 4 * (size(x.out_shape) + 3 & ~3)
            for n, x in enumerate(layers)
        ]
        return [layer.bits for layer in layers]

    assert bits(8) == [8, 8, 8]
    assert bits(4) == [8, 4, 8]
    assert bits((4, 4, 4)) == [4, 4, 4]
    for wrong, words in ((5, "5 bits are not"), ((4, 8), "do not fit 3 layers"), ((4, 4, 3), "3 bits are not")):
        with pytest.raises(SneError, match=words):
            bits(wrong)
    with pytest.raises(SneError, match="8 bits"):
        quantize_network(network, "own", LINE, timesteps=2, bits=(4, 8, 8))
