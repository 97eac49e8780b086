"""Values as sensors give them: learned as well as standardised ones, taken by the device as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.data.dataset import Dataset, Units, load_dataset, split
from sne_edge.data.named import NAMED
from sne_edge.data.raw import Raw
from sne_edge.data.units import encoder_of_given, in_units
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.interchange.inputs import make_encoder
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir.encoder import Encoder
from sne_edge.learn.neurons import LIF
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train
from sne_edge.pipeline.verdict import doubts_of_data
from sne_edge.study.lab import Lab

CONFIG = TrainConfig(
    students=2, timesteps=3, body=Body((6, 8), (5, 3), (2, 2)), recipe=Recipe(alone=6, joint=6, rounded=2, batch=64),
    teacher_epochs=10, views=2, scheme="contiguous",
)  # fmt: skip


def waves(channels: int = 1, count: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """Sines of three frequencies in noise, [N, channels, 24], of deviation about 1, and which each is of."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    phase = rng.uniform(0, 1, (count, channels, 1))
    x = np.sin(phase + np.arange(24) * (y[:, None, None] + 1) / 3) + 0.8 * rng.normal(size=(count, channels, 24))
    return x.astype(np.float64), y


SENSORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "counts of an ADC": lambda x: np.round(2048 + 10 * x[:, :1]),
    "volts": lambda x: 1e-6 * x[:, :1],
    "gravity on one axis": lambda x: x * np.array([1, 0.5, 0.7])[:, None] + np.array([0, 0, 9.8])[:, None],
    "pressure and rotation": lambda x: x * np.array([40, 1, 0.01])[:, None] + np.array([101325, 0, 0])[:, None],
}


def data_of(sensor: str) -> Dataset:
    x, y = waves(3)
    return split("sensor", SENSORS[sensor](x).astype(np.float32), y, layout="NCL")


def best(made: object) -> float:
    return max(row["accuracy"] for row in made.provenance["integer"]["test"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("sensor", SENSORS)
def test_what_a_sensor_gives_is_learned_as_well_as_what_is_standardised(
    sensor: str, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    data = data_of(sensor)
    standard = split("sensor", waves(3)[0][:, : data.shape[2]].astype(np.float32), waves(3)[1], layout="NCL")
    assert in_units(standard) is standard
    made, plain = train(CONFIG, dataset=data), train(CONFIG, dataset=standard)
    assert best(made) > 0.9 and best(made) > best(plain) - 0.03
    if sensor != "gravity on one axis":  # which costs little
        as_it_is = train(replace(CONFIG, input_scale="network"), dataset=data)
        assert best(as_it_is) < best(made) - 0.05, "this sensor needs nothing, and shows nothing"
    # who judges the model gives it what the sensor gives
    inputs = made.encoder.encode(data.x_test)
    run = ReferenceEngine(made).run(inputs, None, None)
    told = made.provenance["integer"]["test"][-1]["accuracy"]
    assert float((run.values["label"] == data.y_test).mean()) == pytest.approx(told, abs=1e-4)
    checks = verify(made, inputs, ReferenceEngine(made), [HostEngine(HostModel(made))])
    assert checks and not any(check.difference for check in checks)


def test_steps_are_the_same_of_values_and_of_values_in_units() -> None:
    rng = np.random.default_rng(1)
    examined = shifted = 0
    for case in range(200):
        channels = int(rng.integers(1, 6))
        units = Units(
            np.where(rng.random(channels) < 0.5, 0, 10 ** rng.uniform(-3, 5)) * rng.normal(size=channels),
            10 ** rng.uniform(-4, 4, channels if case % 2 else 1) * np.ones(channels),
        )
        x = units.given(rng.normal(size=(50, 2, 3, channels))).astype(np.float32)
        scale = tuple(rng.uniform(0.01, 0.05, channels)) if case % 3 and channels > 1 else 0.03
        encoder = Encoder("direct", (2, 3, channels), 2, scale=scale)
        own = encoder_of_given(encoder, units)
        difference = encoder.encode(units.of(x)).view(np.int8).astype(int) - own.encode(x).view(np.int8)
        assert np.abs(difference).max() <= 1 and np.mean(difference != 0) < 0.01  # of float32's own rounding
        examined, shifted = examined + difference.size, shifted + own.shifted
        assert own.encode(units.given(units.of(x))).tolist() == encoder.encode(units.of(x)).tolist()
    assert examined > 100_000 and shifted > 50


def test_what_needs_no_units_stays_the_very_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    grey = rng.integers(0, 256, (90, 8, 8)).astype(np.uint8)
    photos = rng.integers(0, 256, (90, 8, 8, 3)).astype(np.uint8)
    same = {
        "standardised": rng.normal(size=(90, 20)), "grey": grey, "photos": photos, "shares": rng.random((90, 20)),
        "a constant": np.zeros((90, 20)), "near enough": rng.normal(size=(90, 8, 8, 3)) * [1, 2, 3],
    }  # fmt: skip
    for name, x in same.items():
        data = split(name, x, y)
        assert in_units(data) is data, name
    events = split("events", (rng.random((90, 5, 12)) < 0.2).astype(np.uint8), y, layout="NTL")
    assert in_units(events) is events
    monkeypatch.setitem(NAMED, "mnist1d", lambda folder: Raw(100 + photos, y, None, None, standardise=True))
    named = load_dataset("mnist1d")
    assert named.standard is not None and in_units(named) is named
    brought = in_units(split("off", 1000 + rng.normal(size=(90, 20)), y))
    assert in_units(brought) is brought and brought.units is not None


def test_units_are_of_training_samples_and_a_data_set_keeps_its_fingerprint() -> None:
    data = data_of("pressure and rotation")
    poisoned = replace(data, x_test=np.full_like(data.x_test, 1e9), x_val=np.full_like(data.x_val, -1e9))
    found, other = in_units(data), in_units(poisoned)
    assert found.units is not None and other.units is not None
    assert np.array_equal(found.units.middle, other.units.middle)
    assert np.array_equal(found.units.spread, other.units.spread)
    assert found.fingerprint == data.fingerprint != other.fingerprint
    x = found.x_train.reshape(-1, 3)
    assert np.allclose(x.mean(axis=0), 0, atol=0.2) and np.allclose(x.std(axis=0), 1, atol=0.1)
    assert np.allclose(found.as_given(found.x_train), data.x_train, rtol=1e-5, atol=1e-3)
    assert found.units.middle[1:].tolist() == [0, 0], "a zero that is not far off stays one"


class OfCounts(nn.Module):
    """A teacher of counts, which keeps what it met."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[float] = []
        self.classifier = nn.Linear(24, 3)

    def features(self, x: Tensor) -> Tensor:
        self.met.append(float(x.mean()))
        return (x.flatten(1) - 2048) / 10


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
def test_a_teacher_of_ones_own_meets_values_as_the_file_has_them(tmp_path: Path) -> None:
    data, short = data_of("counts of an ADC"), replace(CONFIG, recipe=Recipe(joint=1, rounded=0))
    net = OfCounts()
    train(short, dataset=data, teacher=net)
    assert len(net.met) > 3 and all(2030 < mean < 2066 for mean in net.met)
    path = tmp_path / "own.py"
    path.write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.classifier = nn.Linear(24, 3)\n\n"
        "    def features(self, x):\n        assert 1900 < x.min() and x.max() < 2200, 'these are no counts'\n"
        "        return (x.flatten(1) - 2048) / 10\n"
    )
    train(replace(short, teacher=f"{path}:Net"), dataset=data)


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
def test_studies_give_models_what_the_sensor_gives(tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    x, y = waves(3)
    path = tmp_path / "counts.npz"
    np.savez(path, x_train=SENSORS["counts of an ADC"](x)[:, 0], y_train=y)
    lab = Lab(str(path), (0,), tmp_path / "cache", executor="inline", settings=replace(CONFIG, dataset=str(path)))
    held = lab.held(0)
    data = load_dataset(path)
    assert held.data.units is not None
    assert held.inputs.tolist() == held.model.encoder.encode(data.x_test).tolist()
    assert held.run(held.model.policy, held.inputs).accuracy == pytest.approx(
        held.model.provenance["integer"]["test"][-1]["accuracy"], abs=1e-4
    )
    net, teacher = lab.net(0, lab.like_student(1.0)), lab.teacher(0)
    with torch.no_grad():
        seen = torch.from_numpy(held.data.x_test).movedim(-1, 1)
        right = [float((n(seen).argmax(1).numpy() == data.y_test).mean()) for n in (net, teacher)]
    assert min(right) > 0.9


def test_columns_of_a_table_are_channels_and_looking_like_one_is_said(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 900)
    z = 1.5 * rng.normal(size=(3, 9))[y] + rng.normal(size=(900, 9))
    x = z * 10.0 ** rng.uniform(-2, 3, 9) + rng.choice([0, 200], 9)
    signal, table = split("t", x, y), split("t", x, y, layout="NC")
    assert signal.shape == (1, 9, 1) and table.shape == (1, 1, 9)
    assert table.understood == "9 columns of a table (read as NC)"
    assert any("--layout NC" in text for text in doubts_of_data(signal))
    assert not any(
        "--layout" in text for data in (table, replace(signal, stated="NL")) for text in doubts_of_data(data)
    )
    sines = split("s", waves()[0][:, 0], waves()[1])
    assert not any("--layout" in text for text in doubts_of_data(sines))
    made = train(CONFIG, dataset=table)
    assert best(made) > 0.9
    flat = made.encoder.encode(x[:50].astype(np.float32))  # rows as they are
    assert flat.tolist() == made.encoder.encode(x[:50].astype(np.float32).reshape(-1, 1, 1, 9)).tolist()


def test_a_table_is_read_again_as_it_was_trained(tmp_path: Path, require_tool: Callable[..., None]) -> None:
    from sne_edge.data import origin
    from sne_edge.ir.layout import encoder_layout

    require_tool("cc")
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    path = tmp_path / "table.npz"
    np.savez(path, x_train=y[:, None] + 0.3 * rng.normal(size=(300, 5)), y_train=y)
    data = load_dataset(path, layout="NC")
    made = train(replace(CONFIG, recipe=Recipe(joint=2, rounded=1)), dataset=data)
    again, note = origin.load_for(made.provenance, made.classes, path, finder=encoder_layout(made.encoder))
    assert note is None and again.fingerprint == data.fingerprint and again.shape == (1, 1, 5)


class Own(nn.Module):
    """A network of counts: it makes them small itself, or its weights do (`raw`); or a convolution pads them then."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.way, self.conv = way, nn.Conv1d(1, 4, 3, padding=1)
        self.first = nn.Linear(96 if way == "padded" else 24, 32)
        self.last = nn.Linear(32, 3)
        self.one, self.two, self.out = (snn.Leaky(beta=0.5) for _ in range(3))
        if way == "raw":
            with torch.no_grad():
                self.first.bias -= self.first.weight.sum(1) * 2048 / 10
                self.first.weight /= 10

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.way == "raw" else (x - 2048) / 10
        one, two, out = self.one.init_leaky(), self.two.init_leaky(), self.out.init_leaky()
        made = []
        for _ in range(6):
            h = x
            if self.way == "padded":
                h, one = self.one(self.conv(x.unsqueeze(1)), one)
                h = h.flatten(1)
            h, two = self.two(2 * self.first(h), two)
            h, out = self.out(3 * self.last(h), out)
            made.append(out)
        return torch.stack(made).mean(0)


@pytest.mark.parametrize("way", ["shifted", "raw", "padded"])
def test_a_network_of_counts_is_what_it_is_in_the_framework(way: str, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    x = data_of("counts of an ADC").x_train[:300, 0, :, 0]
    made = quantize_network(Own(way).eval(), "own", x, timesteps=6)
    assert made.encoder.offset == pytest.approx(2048, abs=2) and made.provenance["agreement"] > 0.95
    if way == "padded":
        return  # its own shift is its offset, whatever the samples
    told = [quantize_network(Own(way).eval(), "own", x, timesteps=6, fail_below=0, warn_below=0, **given)
            for given in ({"offset": 0.0}, {"scale": 17.0})]  # fmt: skip
    assert all(other.encoder.offset == 0 and other.provenance["agreement"] < 0.9 for other in told)


def test_an_offset_that_would_have_to_reach_a_padding_is_not_taken(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    torch.manual_seed(0)
    x = (100 + np.random.default_rng(0).normal(size=(60, 1, 12))).astype(np.float32)

    def chain(padding: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv1d(1, 3, 3, padding=padding), LIF(), nn.Flatten(), nn.Linear(3 * (10 + 2 * padding), 2)
        )

    for padding, offset in ((0, 100), (1, 0)):
        made = quantize_network(chain(padding), "own", x, timesteps=3, fail_below=0, warn_below=0)
        assert made.encoder.offset == pytest.approx(offset, abs=1)


def test_channels_that_reach_very_differently_have_a_scale_each(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    torch.manual_seed(0)
    unit = torch.tensor([0.01, 1.0, 300.0])
    net = nn.Sequential(nn.Conv1d(3, 6, 3), LIF(), nn.Flatten(), nn.Linear(60, 3))
    with torch.no_grad():
        net[0].weight *= 3 / unit[:, None]
    x = np.random.default_rng(0).normal(size=(200, 3, 12)).astype(np.float32) * unit.numpy()[:, None]
    made = quantize_network(net, "own", x, timesteps=4)
    assert isinstance(made.encoder.scale, tuple) and made.provenance["agreement"] > 0.96
    alike = quantize_network(net, "own", x, timesteps=4, input_scale="network", fail_below=0, warn_below=0)
    assert isinstance(alike.encoder.scale, float) and alike.provenance["agreement"] < 0.8
    pixels = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32) * np.linspace(0.01, 1, 40)
    wide = quantize_network(nn.Sequential(nn.Linear(40, 8), LIF(), nn.Linear(8, 2)), "own", pixels, timesteps=3)
    assert isinstance(wide.encoder.scale, float), "so many values are of one kind"


def test_a_few_samples_tell_no_unit_of_each_value(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), LIF(), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    made = quantize_network(net, "own", x, timesteps=2, fail_below=0, warn_below=0)
    assert made.encoder.offset == 0 and isinstance(made.encoder.scale, float)


def test_a_channel_that_is_constant_in_the_samples_is_not_dead_in_the_field(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv1d(3, 6, 3), LIF(), nn.Flatten(), nn.Linear(60, 3))
    seen = np.concatenate([np.full((200, 1, 12), 0.1), rng.normal(size=(200, 2, 12))], axis=1)
    made = quantize_network(net, "own", seen, timesteps=4)
    step = made.encoder.spread(made.encoder.scale)
    assert made.encoder.offset == 0 and np.all((step > 1e-3) & (step < 1))
    field = seen.copy()
    field[:, 0] = rng.choice([-0.8, 0.1, 0.9], (200, 1))
    assert np.abs(made.encoder.encode(field).view(np.int8)).max() < 128
    apart = seen * np.array([1, 1, 1000.0])[:, None]
    made = quantize_network(net, "own", apart, timesteps=4, fail_below=0, warn_below=0)
    steps = made.encoder.scale
    assert isinstance(steps, tuple) and steps[0] == steps[2] > 100 * steps[1], "it has the largest: nothing is known"


def test_what_is_chosen_unasked_cuts_no_signal(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    rng = np.random.default_rng(0)
    hit = rng.random((400, 1, 64)) < 0.008
    pulses = 0.05 * rng.normal(size=hit.shape) + hit * rng.uniform(20, 120, hit.shape)
    wide = 500 * rng.normal(size=(400, 1, 64)).clip(-1, 1)
    for x, shape in ((np.concatenate([pulses, wide], axis=1), (1, 64, 2)), (1000 + pulses, (1, 64, 1))):
        encoder = make_encoder("direct", np.moveaxis(x, 1, -1)[:, None], 4, shape, offset=None)
        cut = np.abs(encoder.steps(np.moveaxis(x, 1, -1)[:, None])) > 128
        assert cut.mean() < 2e-4 and (encoder.shifted or isinstance(encoder.scale, tuple))


def test_flat_values_of_other_units_are_channels_of_a_chain_too(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    torch.manual_seed(0)
    unit = 10.0 ** np.arange(-2, 4)
    net = nn.Sequential(nn.Linear(6, 16), LIF(), nn.Linear(16, 3))
    with torch.no_grad():
        net[0].weight *= 3 / torch.from_numpy(unit).float()
    x = (np.random.default_rng(0).normal(size=(400, 6)) * unit).astype(np.float32)
    made = quantize_network(net, "own", x, timesteps=4)
    assert isinstance(made.encoder.scale, tuple) and made.provenance["agreement"] > 0.95


def test_one_outlier_does_not_make_the_unit() -> None:
    rng = np.random.default_rng(0)
    x = 2048 + rng.normal(size=(2000, 60))
    x[3, 5] = 1e6
    found = in_units(split("outlier", x, np.arange(2000) % 2))
    assert found.units is not None and 0.5 < found.units.spread[0] < 5
    flag = rng.normal(size=(2000, 1, 12, 2)) * [1, 50] + [0, 500]
    flag[..., 0] = 0
    flag[7, 0, 3, 0] = 1
    brought = in_units(split("flag", flag, np.arange(2000) % 2, layout="NHWC"))
    assert np.abs(brought.x_train[..., 0]).max() <= 1


def test_a_table_with_a_constant_column_looks_like_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    x[:, 2] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert any("--layout NC" in text for text in doubts_of_data(split("t", x, np.arange(400) % 2)))
