"""The generated engine against other ways to run a network on a Cortex-M4: the same trained network, the same spikes.

A 784-128-10 network of `snntorch.Leaky` neurons without bias is trained on Fashion-MNIST, its pixels turned to spikes
for 10 timesteps, and runs in QEMU over the test samples in each rival whose sources are given:

  --snn2mcu PATH --cmsis-dsp PATH --cmsis-core PATH   github.com/BlackAqualad/snn2mcu, ARM-software/CMSIS-DSP, CMSIS_6
  --snn-generator PATH                                github.com/karol-jurzec/snn-generator
  --emlearn PATH                                      the folder in which `pip install emlearn` put its package: a float
                                                      network of the same size, trained on the pixels, one pass

"same label" is with the network's own forward in torch. Writes rivals.json and rivals.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from bare_metal import build_program, emulate
from cmsis_nn import compiler, core_headers, version
from snntorch import surrogate
from torch import nn

from sne_edge import export_model, quantize_network
from sne_edge.data.dataset import load_dataset
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.errors import SneError
from sne_edge.files import write_whole
from sne_edge.link.bench import bench
from sne_edge.link.connect import connect

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs/results"
BOARD = "mps2-an386"
SIZES = (784, 128, 10)
TIMESTEPS = 10
BETA = 0.9
EPOCHS = 5
CALIBRATION = 1000  # training samples on which the integer network is held against snnTorch's
OPTIMISED = ("-O3", "-ffunction-sections", "-fdata-sections")
DSP = ("BasicMathFunctions/arm_add_q15", "BasicMathFunctions/arm_mult_q15", "BasicMathFunctions/arm_sub_q15",
       "SupportFunctions/arm_fill_q15", "SupportFunctions/arm_float_to_q15")  # fmt: skip
# What snn2mcu's code includes of a board's library, for it prints nothing here.
BOARD_HEADER = """#include <stdint.h>
#include <string.h>
typedef int UART_HandleTypeDef;
static UART_HandleTypeDef huart1;
static void HAL_UART_Transmit(UART_HandleTypeDef *uart, uint8_t *text, uint16_t size, uint32_t wait)
{
    (void)uart, (void)text, (void)size, (void)wait;
}
"""


@dataclass(frozen=True)
class Row:
    """One engine. `same`, `accuracy`: shares of the samples; `instructions`: their mean; `flash`, `ram`: bytes of the
    image and of its static data."""

    engine: str
    network: str
    instructions: float
    same: float
    accuracy: float
    flash: int
    ram: int
    version: str


class Net(nn.Module):
    """784-128-10 of leaky neurons, decoded by spike counts."""

    def __init__(self, reset: str) -> None:
        super().__init__()
        grad = surrogate.atan()
        self.fc1, self.fc2 = (nn.Linear(a, b, bias=False) for a, b in pairwise(SIZES))
        self.lif1, self.lif2 = (snntorch.Leaky(BETA, spike_grad=grad, reset_mechanism=reset) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output spikes [N, T, 10] of spikes [N, T, 784]."""
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        record = []
        for t in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(spk2)
        return torch.stack(record, dim=1)


@dataclass(frozen=True)
class Trained:
    """A network, and what it answers: test rasters uint8 [N, T, 784], its own labels and the true ones."""

    net: Net
    rasters: np.ndarray
    own: np.ndarray
    true: np.ndarray
    calibration: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, run, write; the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)
    try:
        rows = measure(options)
    except SneError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    record = {
        "samples": options.samples,
        "timesteps": TIMESTEPS,
        "compiler": f"{compiler(BOARD)}, {OPTIMISED[0]}",
        "rows": [asdict(row) for row in rows],
    }
    write_whole(options.output / "rivals.json", lambda file: file.write(json.dumps(record, indent=1).encode()))
    text = markdown(record)
    write_whole(options.output / "rivals.md", lambda file: file.write(text.encode()))
    print(text)
    return 0


def measure(options: argparse.Namespace) -> list[Row]:
    """A row for each engine and network."""
    data = load_dataset("fashion-mnist", folder=options.data_dir)
    low, high = float(data.x_train.min()), float(data.x_train.max())

    def pixels(x: np.ndarray) -> np.ndarray:
        return ((x - low) / (high - low)).reshape(len(x), -1).astype(np.float32)

    train, test = pixels(data.x_train), pixels(data.x_test[: options.samples])
    true = np.asarray(data.y_test[: options.samples])
    rows = []
    for reset in ("zero", "subtract"):
        network = f"spiking, reset {'to zero' if reset == 'zero' else 'by subtraction'}"
        trained = _train(reset, train, np.asarray(data.y_train), test, true)
        with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
            work = Path(folder)
            rows.append(_ours(trained, network))
            if reset == "zero" and options.snn2mcu:
                program = _snn2mcu(trained, options, work)
                rows.append(_rival(program, network, trained.rasters.astype(np.int8), trained.own, true, work))
            if reset == "subtract" and options.snn_generator:
                program = _snn_generator(trained, options.snn_generator, work)
                rows.append(_rival(program, network, trained.rasters.astype(np.float32), trained.own, true, work))
    if options.emlearn:
        rows += _emlearn(options.emlearn, train, np.asarray(data.y_train), test, true)
    return rows


def _train(reset: str, x: np.ndarray, y: np.ndarray, test: np.ndarray, true: np.ndarray) -> Trained:
    torch.manual_seed(0)
    net = Net(reset)

    def spikes(values: torch.Tensor) -> torch.Tensor:
        return (torch.rand(len(values), TIMESTEPS, SIZES[0]) < values[:, None]).float()

    _fit(nn.Sequential(net, _Sum()), torch.from_numpy(x), torch.from_numpy(y), spikes, f"reset {reset}")
    generator = torch.Generator().manual_seed(1)

    def raster(samples: np.ndarray) -> np.ndarray:
        drawn = torch.rand(len(samples), TIMESTEPS, SIZES[0], generator=generator)
        found: np.ndarray = (drawn < torch.from_numpy(samples)[:, None]).numpy().astype(np.uint8)
        return found

    rasters = raster(test)
    with torch.inference_mode():
        own = net(torch.from_numpy(rasters).float()).sum(1).argmax(1).numpy()
    return Trained(net, rasters, own, true, raster(x[:CALIBRATION]))


class _Sum(nn.Module):
    """Spike counts [N, 10] of output spikes [N, T, 10]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)


def _fit(net: nn.Module, x: torch.Tensor, y: torch.Tensor, view: Callable[[Any], Any], name: str) -> None:
    """Train for `EPOCHS` on what `view` makes of each batch."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(128):
            loss = nn.functional.cross_entropy(net(view(x[batch])), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{name}: epoch {epoch + 1} of {EPOCHS}, loss {loss.item():.3f}", file=sys.stderr, flush=True)


def _ours(trained: Trained, network: str) -> Row:
    rasters = trained.calibration.astype(np.float32)
    model = quantize_network(trained.net, "rivals", rasters, timesteps=TIMESTEPS, encoder="events", decode="count")
    inputs = model.encoder.encode(trained.rasters)
    host = HostModel(model)
    label = host.run(inputs, model.policy).label
    with connect(model, f"qemu:{BOARD}") as (device, _):
        row = bench(host, device, inputs, np.asarray(trained.true), [model.policy], len(inputs))[0]
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        exported = export_model(model, resolve_board(BOARD).target, Path(folder) / "c")
        firmware = build_firmware(exported, BOARD, Path(folder) / "firmware")
    return Row(
        "sne-edge", network, row.count_mean, *_shares(label, trained.own, trained.true),
        firmware.flash_bytes - firmware.vector_bytes, firmware.ram_bytes, "",
    )  # fmt: skip


def _shares(label: np.ndarray, own: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    return float(np.mean(label == own)), float(np.mean(label == true))


@dataclass(frozen=True)
class _Program:
    """A rival: its adapter and sources, and what they are compiled with."""

    engine: str
    adapter: str
    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    version: str


def _snn2mcu(trained: Trained, options: argparse.Namespace, work: Path) -> _Program:
    """Its generator, run on the network as snnTorch's export would write it, and CMSIS-DSP."""
    import nir

    generator = _file(options.snn2mcu / "NIR-to-C_V2/nir_to_c_generator_V2.py", "--snn2mcu")
    if options.cmsis_core is None or options.cmsis_dsp is None:
        raise SneError("snn2mcu needs CMSIS-DSP and CMSIS Core", "give --cmsis-dsp and --cmsis-core, checkouts of them")
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([SIZES[0]])})}
    edges, before = [], "input"
    for number, layer in enumerate((trained.net.fc1, trained.net.fc2)):
        weight = layer.weight.detach().numpy()
        ones = np.ones(len(weight), np.float32)
        # snnTorch writes tau = dt / (1 - beta) with dt = 1e-4, and r = tau / dt
        nodes[f"fc{number}"] = nir.Linear(weight)
        nodes[f"lif{number}"] = nir.LIF(ones * 1e-4 / (1 - BETA), ones / (1 - BETA), ones * 0, ones, ones * 0)
        edges += [(before, f"fc{number}"), (f"fc{number}", f"lif{number}")]
        before = f"lif{number}"
    nodes["output"] = nir.Output({"output": np.array([SIZES[-1]])})
    source = work / "Src"
    for folder in ("Src", "Inc"):
        (work / folder).mkdir()
    nir.write(str(source / "net.nir"), nir.NIRGraph(nodes, [*edges, (before, "output")]))
    run_tool([sys.executable, str(generator.resolve()), "net.nir"], source)
    (source / "lif_neuron_gen.h").rename(work / "Inc/lif_neuron_gen.h")
    (work / "Inc/usart.h").touch()
    (work / "Inc/arm_nnfunctions.h").touch()
    (work / "Inc/stm32h7xx_hal.h").write_text(BOARD_HEADER, encoding="utf-8")
    dsp = options.cmsis_dsp
    sources = [_file(dsp / f"Source/{name}.c", "--cmsis-dsp") for name in DSP]
    includes = (work / "Inc", dsp / "Include", dsp / "PrivateInclude", core_headers(options.cmsis_core))
    return _Program("snn2mcu", "snn2mcu", (source / "lif_neuron_gen.c", *sources), includes, version(options.snn2mcu))


def _snn_generator(trained: Trained, path: Path, work: Path) -> _Program:
    """Its layers and neurons, with the weights in flash."""
    text = f"enum {{ HIDDEN = {SIZES[1]} }};\n#define BETA {BETA}f\n#define THRESHOLD 1.0f\n"
    for number, layer in enumerate((trained.net.fc1, trained.net.fc2)):
        weight = layer.weight.detach().numpy().reshape(-1)
        text += f"static const float weights_{number}[] = {{{', '.join(f'{w:.9e}f' for w in weight)}}};\n"
    (work / "weights.h").write_text(text, encoding="utf-8")
    names = ("layers/linear_layer", "layers/spiking_layer", "models/lif_neuron")
    sources = tuple(_file(path / f"src/{name}.c", "--snn-generator") for name in names)
    return _Program("snn-generator", "snn_generator", sources, (work, path / "include"), version(path))


def _emlearn(path: Path, x: np.ndarray, y: np.ndarray, test: np.ndarray, true: np.ndarray) -> list[Row]:
    """A perceptron of the same size, trained like the spiking networks, in emlearn's generated C."""
    _file(path / "emlearn/eml_net.h", "--emlearn")
    sys.path.append(str(path))
    from emlearn.net import c_generate_net_loadable

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))
    _fit(net, torch.from_numpy(x), torch.from_numpy(y), lambda values: values, "perceptron")
    with torch.inference_mode():
        own = net(torch.from_numpy(test)).argmax(1).numpy()
    layers = [net[0], net[2]]
    weights = [layer.weight.detach().numpy().T for layer in layers]
    text = c_generate_net_loadable(
        ["relu", "softmax"], weights, [layer.bias.detach().numpy() for layer in layers], "mlp"
    )
    release = (path / "emlearn/VERSION.txt").read_text(encoding="utf-8").strip()
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        work = Path(folder)
        (work / "mlp.h").write_text(text, encoding="utf-8")
        program = _Program("emlearn", "emlearn", (), (work, path / "emlearn"), release)
        return [_rival(program, "perceptron, float, one pass", test, own, true, work)]


def _rival(program: _Program, network: str, inputs: np.ndarray, own: np.ndarray, true: np.ndarray, work: Path) -> Row:
    """Compile a rival, its code with `OPTIMISED`, and run it over all inputs [N, ...] in its own form."""
    board = resolve_board(BOARD)
    target = resolve_target(board.target)
    inputs = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
    definitions = {
        "INPUTS": SIZES[0], "CLASSES": SIZES[-1], "TIMESTEPS": TIMESTEPS, "SAMPLES": len(inputs),
        "INPUT_BYTES": inputs[0].nbytes,
    }  # fmt: skip
    defined = [f"{name}={value}" for name, value in definitions.items()]
    sources = [HERE / f"rivals/{program.adapter}.c", *program.sources]
    folders = [f"-I{path.resolve()}" for path in (*program.includes, HERE / "rivals")]
    names = [str(path.resolve()) for path in sources]
    flags = [*OPTIMISED, *(f"-D{name}" for name in defined), *folders]
    run_tool([target.cc, *target.cflags, "-std=gnu11", *flags, "-w", "-c", *names], work)
    objects = [work / f"{path.stem}.o" for path in sources]
    maths = run_tool([target.cc, *target.cflags, "-print-file-name=libm.a"], work).strip()
    files = [HERE / "rivals/program.c", *objects, Path(maths)]
    elf = build_program(BOARD, files, work, includes=(HERE / "rivals",), definitions=defined)
    (work / "inputs.bin").write_bytes(inputs.tobytes())
    emulate(BOARD, elf, seconds=1800)
    form = np.dtype([("count", "<u4"), ("scores", "<f4", SIZES[-1])])
    found = np.fromfile(work / "outputs.bin", form, len(inputs))
    size = subprocess.run([f"{target.prefix}size", str(elf)], capture_output=True, text=True, check=True)
    text, data, bss = (int(word) for word in size.stdout.splitlines()[1].split()[:3])
    return Row(
        program.engine, network, float(found["count"].mean()),
        *_shares(found["scores"].argmax(1), own, true), text + data, data + bss, program.version,
    )  # fmt: skip


def _file(path: Path, option: str) -> Path:
    if not path.is_file():
        raise SneError(f"{path} is not there", f"give {option} a checkout that has it")
    return path


def markdown(record: dict[str, Any]) -> str:
    """The table of docs/results/rivals.md."""
    own = {row["network"]: row["instructions"] for row in record["rows"] if row["engine"] == "sne-edge"}
    first = next(iter(own.values()))
    lines = [
        "# Other engines on the same network",
        "",
        f"784-128-10 on Fashion-MNIST, {record['timesteps']} timesteps of the same spikes, all of the first "
        f"{record['samples']:,} test samples, Cortex-M4 in QEMU; instructions, never cycles. Spiking networks are "
        "trained with snnTorch; emlearn's is a perceptron, trained on the pixels, in one pass. *Same label* is with "
        f"the network's own forward in torch. {record['compiler']} for the others, -O2 for ours. Bytes are the whole "
        "image's, ours with its serial protocol and without golden vectors; RAM is static data. Made by "
        "`make bench-rivals` with the others' sources.",
        "",
        "| engine | network | instructions | ours is | same label | accuracy | flash | RAM | version |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        ratio = row["instructions"] / own.get(row["network"], first)
        lines.append(
            f"| {row['engine']} | {row['network']} | {row['instructions']:,.0f} "
            f"| {'' if row['engine'] == 'sne-edge' else f'{ratio:.1f} times fewer'} | {row['same']:.1%} "
            f"| {row['accuracy']:.1%} | {row['flash']:,} | {row['ram']:,} | {row['version']} |"
        )
    return "\n".join(lines) + "\n"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("snn2mcu", "cmsis-dsp", "cmsis-core", "snn-generator", "emlearn", "data-dir"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH")
    parser.add_argument("--samples", type=int, default=1000, help="test samples")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where rivals.json and rivals.md go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
