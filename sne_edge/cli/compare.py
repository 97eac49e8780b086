"""The command that holds a network against its integers: `compare`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError, SneWarning
from . import complete
from .app import app
from .inputs import check_finite, check_layout, check_picture, load, need_training, reset_kind
from .options import DataDir, Force, Json, Layout
from .output import print_json, print_table

if TYPE_CHECKING:
    from ..interchange.compare import NetworkComparison

FOREIGN = 0.5  # error of weights, relative, that no rounding to 8 or 4 bits makes


@app.command(short_help="Show where a model's integers part from its network.")
def compare(
    network: Annotated[
        str,
        typer.Argument(
            help="The network as `quantize` took it: FILE.py:NAME, which is run, or FILE.nir.",
            autocompletion=complete.networks,
        ),
    ],
    model: Annotated[
        str, typer.Argument(help="The .sne file that `quantize` made of it.", autocompletion=complete.models)
    ],
    data: Annotated[
        str,
        typer.Option(
            help="A data set or .npz, as for `quantize`: its validation part is run.", autocompletion=complete.data_sets
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(help="A file of the network's state_dict: .pt as torch saves it, or safetensors.")
    ] = None,
    layout: Layout = None,
    samples: Annotated[int, typer.Option(help="How many samples to run.", min=1)] = 64,
    decode: Annotated[str | None, typer.Option(help="As it was given to `quantize`.")] = None,
    dt: Annotated[float | None, typer.Option(help="Of a NIR file, as for `quantize`: seconds of a timestep.")] = None,
    reset: Annotated[str, typer.Option(help="Of a NIR file, as for `quantize`: zero or subtract.")] = "zero",
    late_reset: Annotated[bool, typer.Option("--late-reset", help="Of a NIR file, as for `quantize`.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the split of the data; default the model's own.", min=0)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw both rasters of the first sample into this PNG.")] = None,
    fail_below: Annotated[
        float | None,
        typer.Option(help="Exit with 1 where fewer than this share of the samples, 0..1, get the network's own label."),
    ] = None,
    data_dir: DataDir = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show, population by population, where a model's integers part from the network that it was made of."""
    from ..data.dataset import load_dataset
    from ..data.origin import origin
    from ..quantize.calibrate import check_labels

    need_training()
    check_finite(fail_below=fail_below)
    check_layout(layout)
    ensemble = load(model)
    check_labels(ensemble)
    if plot is not None:
        check_picture(plot, force, "--plot")
    from ..interchange import graphs
    from ..interchange.compare import compare_network, compare_nir
    from ..interchange.from_nir import Reading
    from ..interchange.judge import check_shares
    from ..interchange.modules import becomes_chain
    from ..interchange.script import load_network
    from ..interchange.torch import input_layout
    from ..ir.layout import usual_layout

    check_shares(0.0 if fail_below is None else fail_below)
    reading = Reading(dt, reset_kind(reset), late_reset, decode=graphs.decoder(decode))
    encoder = ensemble.encoder
    own = None if network.endswith(".nir") else load_network(network, weights)
    chain = own is not None and becomes_chain(own, encoder.kind)
    layouts = input_layout(own, encoder.kind, encoder.shape) if chain and own is not None else usual_layout
    known = origin(ensemble.provenance)
    if seed is None:
        seed = 0 if known is None else known.seed
    dataset = load_dataset(data, seed, data_dir, layout=layout, finder=layouts)
    x, labels = dataset.x_val[:samples], dataset.y_val[:samples]
    if own is None:
        found = compare_nir(network, ensemble, graphs.channels_first(x), labels=labels, reading=reading)
    else:
        fitting = graphs.samples_for(own, x, encoder.kind, encoder.timesteps, decode)
        found = compare_network(own, ensemble, fitting, labels=labels, decode=decode)
    if plot is not None:
        from ..study.rasters import draw_rasters

        draw_rasters(found, ensemble.name, plot)
    if as_json:
        print_json(found.record() | {"model": ensemble.name, "network": network})
    else:
        _print(found, ensemble.name)
    off = max((p.weight_error for p in found.populations if p.weight_error is not None), default=0.0)
    if off > FOREIGN:
        warnings.warn(
            f"weights are off by up to {off:.0%}, more than rounding does: is this the network that {ensemble.name} "
            "was made of?",
            SneWarning,
            stacklevel=1,
        )
    if fail_below is not None and found.agreement < fail_below:
        raise SneError(
            f"{found.agreement:.2%} of {found.samples} samples get the network's own label, less than {fail_below:.2%}",
            "the first population whose spikes differ much says where: see its weight and threshold errors, and clamps",
        )


def _print(found: NetworkComparison, name: str) -> None:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.2%}"

    print_table(
        f"{name}: the network and its integers, {found.samples} samples of {found.timesteps} timesteps",
        [
            *("population", "neurons", "rate, network", "integers", "first differs", "spikes that differ"),
            *("weights off", "threshold off", "leak off", "at a clamp"),
        ],
        [
            [
                p.name,
                f"{p.neurons:,}",
                "-" if p.float_rate is None else f"{p.float_rate:.4f}",
                "-" if p.integer_rate is None else f"{p.integer_rate:.4f}",
                "never" if p.first_difference is None else f"t = {p.first_difference}",
                share(p.differing),
                share(p.weight_error),
                share(p.threshold_error),
                f"{p.leak_error:.1e}",
                share(p.saturated),
            ]
            for p in found.populations
        ],
        spare=("at a clamp", "leak off", "neurons", "threshold off", "weights off"),
    )
    print(f"the same label on {found.agreement:.2%} of the samples; correlation of logits {found.correlation:.4f}")
    if found.accuracy is not None:
        print(f"accuracy: the network {found.accuracy:.2%}, its integers {found.integers:.2%}")
    if found.input_error:
        print(f"int8 moves the input's values by {found.input_error:.2%} (root mean square)")
