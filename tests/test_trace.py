"""Networks of torch and snnTorch as people write them, read by following their forward: each float graph gives what the
network's own forward gives, on raw inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sne_edge.errors import SneError
from sne_edge.interchange.trace import trace
from sne_edge.learn.graph import FloatDecoder, FloatTrace


class Tutorial5(nn.Module):
    """snnTorch's fifth tutorial: explicit states, a loop over time, records of spikes and membranes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 100), nn.Linear(100, 10)
        self.lif1, self.lif2 = snn.Leaky(beta=0.95), snn.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(25):
            cur1 = self.fc1(x.flatten(1))
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


def hidden(**kw: Any) -> snn.Leaky:
    return snn.Leaky(init_hidden=True, **({"beta": 0.5} | kw))


def nmnist() -> nn.Module:
    """The network of snnTorch's tutorial on N-MNIST: convolution, pooling, neurons, of one timestep."""
    return nn.Sequential(
        nn.Conv2d(2, 12, 5), nn.MaxPool2d(2), hidden(), nn.Conv2d(12, 32, 5), nn.MaxPool2d(2), hidden(),
        nn.Flatten(), nn.Linear(32 * 5 * 5, 10), hidden(output=True),
    )  # fmt: skip


class Recurrent(nn.Module):
    """As for SHD: a recurrent layer, a synaptic readout's membranes, samples [N, T, channels]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(70, 32), nn.Linear(32, 8)
        self.lif1, self.lif2 = snn.RLeaky(beta=0.9, linear_features=32), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        spk1, mem1 = self.lif1.init_rleaky()
        syn2, mem2 = self.lif2.init_synaptic()
        record = []
        for t in range(x.size(1)):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), spk1, mem1)
            _, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            record.append(mem2)
        return torch.stack(record, dim=1)


class Residual(nn.Module):
    """A spike-element-wise residual block, a batch norm, global pooling, currents averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)
        self.lif1, self.lif2 = hidden(), hidden(threshold=0.4)

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for t in range(x.shape[0]):
            one = self.lif1(self.norm(self.conv1(x[t])))
            two = self.lif2(self.conv2(one)) + one
            out.append(self.fc(F.adaptive_avg_pool2d(two, 1).flatten(1)))
        return torch.stack(out).mean(0)


class Joined(nn.Module):
    """Concatenated channels, groups, learnt leaks by channel, every reset, Lapicque, membranes that never reset."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding="same"), nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.lif1 = hidden(beta=torch.rand(8), learn_beta=True, reset_mechanism="zero")
        self.lif2 = hidden(beta=0.7, reset_delay=False)
        self.c, self.lif3 = nn.Conv2d(8, 6, 3, stride=2), snn.Lapicque(beta=0.8, init_hidden=True, threshold=0.1)
        self.fc, self.last = nn.Linear(54, 3), hidden(beta=0.9, reset_mechanism="none", output=True)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.lif1(self.a(x)), self.lif2(self.b(x) * 0.5)], dim=1)
        spikes = self.lif3(F.avg_pool2d(self.c(both), 1))
        _, mem = self.last(self.fc(torch.flatten(spikes, 1)))
        out: Tensor = mem
        return out


class OneToOne(nn.Module):
    """RSynaptic that hears itself neuron by neuron, a constant current, an input that is iterated over."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(30, 16), nn.Linear(16, 4)
        self.lif1, self.lif2 = snn.RSynaptic(alpha=0.7, beta=0.8, all_to_all=False, V=0.5), snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        spk1, syn1, mem1 = self.lif1.init_rsynaptic()
        mem2 = self.lif2.init_leaky()
        out = []
        for now in x:
            spk1, syn1, mem1 = self.lif1(self.fc1(now), spk1, syn1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1) + 0.1, mem2)
            out.append(spk2)
        return torch.stack(out).sum(dim=0)


class Prepared(nn.Module):
    """Its record is a tensor that is there before."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), hidden()

    def forward(self, x: Tensor) -> Tensor:
        record = torch.zeros(5, len(x), 6)
        for t in range(5):
            record[t] = self.lif(self.fc(x))
        return record


class Subclassed(nn.Sequential):
    """A Sequential whose own forward adds a residual."""

    def forward(self, x: Tensor) -> Tensor:
        first = self[1](self[0](x))
        spikes: Tensor = self[3](self[2](first) + first)
        return spikes


def subclassed() -> nn.Module:
    return Subclassed(nn.Linear(6, 6), hidden(), nn.Linear(6, 6), hidden(output=True))


def raster(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: (torch.rand(*shape, generator=generator) < 0.3).float()


def values(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.rand(*shape, generator=generator)


def simulated(network: nn.Module, x: Tensor, steps: int, axis: int | None, **kw: Any) -> tuple[FloatTrace, Tensor, Any]:
    made = trace(network, x, steps, time_axis=axis, **kw)
    height, width, channels = made.graph.input_shape
    every = x[None] if axis is None else x.movedim(axis, 0)
    maps = every.reshape(*every.shape[:2], channels, height, width).permute(0, 1, 3, 4, 2).double()
    run = made.graph.simulate(maps[0], steps) if axis is None else made.graph.simulate(maps)
    return run, made.witness(x), made


@pytest.mark.parametrize(
    ("make", "sample", "steps", "axis", "kind"),
    [
        (Tutorial5, values(8, 1, 28, 28), 25, None, "count"),
        (nmnist, raster(12, 4, 2, 34, 34), 12, 0, "count"),
        (Recurrent, raster(4, 20, 70), 20, 1, "membrane"),
        (Residual, raster(6, 4, 2, 8, 8), 6, 0, "current"),
        (Joined, raster(6, 4, 2, 8, 8), 6, 0, "membrane"),
        (OneToOne, raster(15, 4, 30), 15, 0, "count"),
        (subclassed, values(16, 6), 9, None, "count"),
        (Prepared, values(16, 6), 5, None, "count"),
    ],
    ids=["tutorial 5", "N-MNIST", "recurrent", "residual", "joined", "one to one", "own forward", "a record prepared"],
)
def test_a_network_is_read_by_what_it_does(
    make: Callable[[], nn.Module],
    sample: Callable[[torch.Generator], Tensor],
    steps: int,
    axis: int | None,
    kind: str,
) -> None:
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    before = {name: value.clone() for name, value in network.state_dict().items() if value.numel()}
    run, want, made = simulated(network, sample(torch.Generator().manual_seed(1)), steps, axis)
    assert made.graph.decoder.kind == kind
    spiking = [p.name for p in made.graph.populations if p.threshold is not None and p.reset != "none"]
    assert spiking
    assert all(run.spikes[name].sum() > 0 for name in spiking)
    torch.testing.assert_close(run.logits, want.double(), rtol=0, atol=2e-6)  # the network computes in single precision
    after = {name: value for name, value in network.state_dict().items() if value.numel()}
    assert all(torch.equal(after[name], before[name]) for name in before)  # the user's network is left alone


def test_what_is_decoded_can_be_chosen() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 1, 28, 28)
    for decoder in (FloatDecoder("membrane", "final"), FloatDecoder("membrane", "highest"), FloatDecoder("first")):
        run, want, made = simulated(Tutorial5(), x, 25, None, decode=decoder)
        assert made.graph.decoder == decoder
        torch.testing.assert_close(run.logits, want.double(), rtol=0, atol=2e-6)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), hidden()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lif(self.fc(self.lif(self.fc(x))))
        return out


class Forgetful(nn.Module):
    """States at rest at every timestep, as where `init_leaky` is called in the forward of one timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), snn.Leaky(beta=0.5)

    def forward(self, x: Tensor) -> Tensor:
        spikes, _ = self.lif(self.fc(x), torch.zeros(len(x), 6))
        out: Tensor = spikes
        return out


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), hidden()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lif(torch.sigmoid(self.fc(x)))
        return out


class Overwriting(nn.Module):
    """It changes a tensor in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), hidden()

    def forward(self, x: Tensor) -> Tensor:
        current = self.fc(x)
        current[:, 0] = 0.0
        out: Tensor = self.lif(current)
        return out


class Growing(nn.Module):
    """Its weights change with time."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 6), hidden()

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.lif(self.fc(x) * (t + 1)) for t in range(5)])


class Own(snn.Leaky):  # type: ignore[misc]
    """A neuron of somebody's own."""


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(6, 6), hidden())
    network[1].register_forward_hook(lambda module, given, made: made * 2)
    return network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Twice, "times in 5 timesteps"),
        (Forgetful, "given a state at timestep 1"),
        (Squashed, "sigmoid"),
        (Growing, "something else at timestep"),
        (Overwriting, "__setitem__"),
        (hooked, "hooks"),
        (lambda: nn.Sequential(nn.Linear(6, 6)), "no spiking neurons"),
        (lambda: nn.Sequential(nn.Linear(6, 6), Own(beta=0.5, init_hidden=True)), "Own"),
        (lambda: nn.Sequential(nn.Linear(6, 6), snn.SLSTM(6, 6, init_hidden=True)), "SLSTM"),
        (lambda: nn.Sequential(nn.Linear(6, 6), hidden(spike_grad=torch.sigmoid)), "spike_grad"),
        (lambda: nn.Sequential(nn.Linear(6, 6), hidden(inhibition=True)), "inhibition"),
        (lambda: nn.Sequential(nn.Linear(6, 6), hidden(graded_spikes_factor=2.0)), "graded"),
        (lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), hidden()), "layer_norm"),
    ],
)
@pytest.mark.filterwarnings("ignore:Inhibition")
def test_what_cannot_be_deployed_is_refused_by_name(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(SneError, match=message) as error:
        trace(make(), torch.rand(4, 6), 5)
    assert error.value.hint


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_other_precisions_are_read_in_single_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 6), hidden()).to(dtype)
    run, want, _ = simulated(network, torch.rand(16, 6), 5, None)
    torch.testing.assert_close(run.logits, want.double(), rtol=0, atol=0)


def test_pruned_and_parametrised_weights_are_those_that_count() -> None:
    from torch.nn.utils import parametrizations, prune

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), hidden(), parametrizations.weight_norm(nn.Linear(12, 6)), hidden())
    prune.l1_unstructured(network[0], "weight", amount=0.5)
    run, want, made = simulated(network, torch.rand(16, 6), 5, None)
    assert (made.graph.populations[0].projections[0].weight == 0).mean() >= 0.5
    torch.testing.assert_close(run.logits, want.double(), rtol=0, atol=0)
