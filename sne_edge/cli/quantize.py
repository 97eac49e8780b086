"""The commands `quantize` and `supported`: a network of one's own becomes a model, and which can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import check_layout, check_memory, check_name, check_output, need_training, numbers, reset_kind, scaled
from .options import DataDir, DecodeLeak, Force, Layout, Window
from .output import tell


@app.command(short_help="Make a model of a network of your own: torch, snnTorch, NIR.")
def quantize(
    network: Annotated[
        str,
        typer.Argument(
            help="FILE.py:NAME, a torch.nn.Module or a function that returns one; or FILE.nir.",
            autocompletion=complete.networks,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[
        str,
        typer.Option(
            help="A data set or .npz; on its validation part scales are set and the network is run.",
            autocompletion=complete.data_sets,
        ),
    ],
    timesteps: Annotated[int, typer.Option(help="Timesteps of an inference.", min=1, max=65535)],
    weights: Annotated[
        Path | None, typer.Option(help="A file of the network's state_dict: .pt as torch saves it, or safetensors.")
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="direct; rate: inputs 0..1 are a spike's probability in each timestep; events: 0/1 rasters; frames: "
            "values that change at every timestep.",
            autocompletion=complete.words("direct", "rate", "events", "frames"),
        ),
    ] = "direct",
    layout: Layout = None,
    shape: Annotated[
        str | None, typer.Option(help="HEIGHT,WIDTH,CHANNELS of the input, where the data holds flat samples of it.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="Real value of one step of the int8 input; or one for each channel: 0.1,0.1,15.7. Default: the "
            "largest magnitude, glitches aside, is 127 steps; with rate, 1/128."
        ),
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(
            help="Real value of the int8 input's 0, or of each channel's: q = (x - offset) / scale. Default: 0, or, "
            "where that is far off the samples and nothing pads them with zeros, their middle."
        ),
    ] = None,
    input_range: Annotated[
        str,
        typer.Option(
            help="What sets the scale where none is given: max; percentile: what 99.9 % of the magnitudes do not "
            "exceed; mse: the smallest mean squared error of clipping and rounding."
        ),
    ] = "max",
    input_scale: Annotated[
        str,
        typer.Option(
            help="What has a scale of its own: auto (each of a few channels that reach very differently), network (the "
            "whole input), or per-channel."
        ),
    ] = "auto",
    bits: Annotated[
        str,
        typer.Option(help="Bits of weights, 8 or 4, between the first layer and the readout; or all layers': 8,4,8."),
    ] = "8",
    decode: Annotated[
        str | None,
        typer.Option(
            help="What becomes of the outputs: count, current, first, membrane (its mean), membrane-final or "
            "membrane-highest. Default: as the network returns them."
        ),
    ] = None,
    dt: Annotated[
        float | None, typer.Option(help="Seconds of a timestep of a NIR file (snnTorch writes 1e-4).")
    ] = None,
    reset: Annotated[
        str, typer.Option(help="What a spike does in a NIR file: zero, as NIR has it, or subtract (snnTorch, sinabs).")
    ] = "zero",
    late_reset: Annotated[
        bool, typer.Option("--late-reset", help="A NIR file's resets take effect a timestep later (snnTorch).")
    ] = False,
    seed: Annotated[
        int,
        typer.Option(help="Seed of the split; of `load_dataset`, if the network was trained on its samples.", min=0),
    ] = 0,
    warn_below: Annotated[
        float,
        typer.Option(help="Warn where fewer samples than this share get the network's own label."),
    ] = 0.95,
    fail_below: Annotated[float, typer.Option(help="Write nothing where fewer than this share do.")] = 0.8,
    window: Window = None,
    decode_leak: DecodeLeak = None,
    regression: Annotated[
        bool,
        typer.Option(
            "--regression",
            help="Outputs, one or more, are numbers; --data is an .npz whose y_train holds them, [N] or [N, outputs].",
        ),
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the output file's.")] = None,
    data_dir: DataDir = None,
    force: Force = False,
) -> None:
    """Quantise a network of your own, of torch and snnTorch or from a NIR file, and hold it against the network.

    FILE.py is run: name one you trust. The network takes torch's order, channels first, whatever the data's.
    """
    import msgspec

    from ..data.dataset import load_dataset
    from ..data.origin import record
    from ..data.values import load_values
    from ..ir.artifact import save

    need_training()
    check_output(output, force)
    check_name(name or output.stem.lower())
    from ..interchange import graphs
    from ..interchange.from_nir import Reading
    from ..interchange.graphs import channels_first
    from ..interchange.inputs import Scaling, check_encoding
    from ..interchange.judge import check_shares
    from ..interchange.modules import becomes_chain
    from ..interchange.script import load_network
    from ..interchange.torch import input_layout, quantize_network
    from ..ir.encoder import in_words
    from ..ir.ensemble import QuantEnsemble
    from ..pipeline.stream import for_stream, remembering
    from ..quantize.quantize import check_bits

    size = None if shape is None else numbers("--shape", shape)
    widths = numbers("--bits", bits)
    ranged: dict[str, Any] = {
        "scale": None if scale is None else scaled("--scale", scale),
        "offset": None if offset is None else scaled("--offset", offset),
        "input_range": input_range, "input_scale": input_scale,
    }  # fmt: skip
    check_encoding(encoder, input_range, input_scale, ranged["scale"])
    check_bits(widths)
    check_shares(warn_below, fail_below)
    check_layout(layout)
    check_memory(None, window, decode_leak)

    def less(made: QuantEnsemble) -> str:
        """What the encoder takes off the samples, if anything."""
        return f", less {in_words(made.encoder.offset)}" if made.encoder.shifted else ""

    reading = Reading(dt, reset_kind(reset), late_reset, decode=graphs.decoder(decode))
    own = None if network.endswith(".nir") else load_network(network, weights)
    chain = own is not None and becomes_chain(own, encoder)
    finder: dict[str, Any] = {"finder": input_layout(own, encoder, size)} if chain and own is not None else {}
    if regression:
        if widths != (8,) or window is not None or decode_leak is not None:
            raise SneError("a regression is a graph of 8-bit weights", "leave --bits, --window, --decode-leak")
        told = load_values(data, seed, layout=layout, **finder)
        asked: dict[str, Any] = {
            "timesteps": timesteps, "labels": told.y, "encoder": encoder, "task": "regression", **ranged,
            "warn_below": warn_below, "fail_below": fail_below,
        }  # fmt: skip
        title = name or output.stem.lower()
        if own is None:
            made = graphs.quantize_nir(network, title, channels_first(told.x), reading=reading, **asked)
        else:
            fitting = graphs.samples_for(own, told.x, encoder, timesteps, decode)
            made = graphs.quantize_traced(own, title, fitting, decode=decode, **asked)
        save(made, output)
        fits, found = made.provenance["r_squared"], made.provenance
        print(f"samples: {told.understood}{less(made)}")
        tell(
            f"R squared on {len(told.y):,} validation samples: {fits['integer']:.4f}, the network itself "
            f"{fits['float']:.4f}"
        )
        tell(
            f"wrote {output}: the network's own outputs by an R squared of {found['fit']:.4f}, with an error of "
            f"at most {found['largest_error']:.4g} where they span {found['span']:.4g}"
        )
        return
    dataset = load_dataset(data, seed, data_dir, layout=layout, **finder)
    common: dict[str, Any] = {
        "timesteps": timesteps, "labels": dataset.y_val, "classes": dataset.classes, "warn_below": warn_below,
        "fail_below": fail_below,
    }  # fmt: skip
    title, x = name or output.stem.lower(), dataset.x_val
    if not chain and widths != (8,):
        raise SneError("a graph has weights of 8 bits", "leave --bits out")
    if own is None:
        made = graphs.quantize_nir(
            network, title, channels_first(x), reading=reading, encoder=encoder, **ranged, **common
        )
    elif chain:
        layers = () if own is None else tuple(own.modules())
        given = Scaling(**ranged).encoder(encoder, x, timesteps, size or dataset.shape, layers)
        made = quantize_network(
            own, title, x, encoder=given, bits=widths[0] if len(widths) == 1 else widths, layout=dataset.layout,
            **common,
        )  # fmt: skip
    else:
        fitting = graphs.samples_for(own, x, encoder, timesteps, decode)
        made = graphs.quantize_traced(own, title, fitting, encoder=encoder, decode=decode, **ranged, **common)
    if window is not None or decode_leak is not None:
        whole, made = made, for_stream(made, window=window, leak=decode_leak)
        inputs = made.encoder.encode(graphs.as_maps(channels_first(x), made.encoder.shape, True))
        made = remembering(made, whole, inputs, dataset.y_val, warn_below)
    provenance = made.provenance | {"dataset": record(dataset) | {"seed": seed}}
    save(msgspec.structs.replace(made, provenance=provenance), output)
    right, count = made.provenance["accuracy"], f"{len(dataset.y_val):,} validation samples"
    print(f"samples: {dataset.understood}{less(made)}")
    print(f"accuracy on {count}: {right['integer']:.2%}, the network itself {right['float']:.2%}")
    memory = made.provenance.get("memory")
    kept = f", and with its memory {memory['labels_kept']:.2%} of these labels are the same" if memory else ""
    print(f"wrote {output}: like the network itself on {made.provenance['agreement']:.2%} of them{kept}")


@app.command(short_help="Print what quantize reads, and what it refuses and why.")
def supported() -> None:
    """Print what `quantize` reads of torch, snnTorch and NIR, and with which words it refuses the rest, as Markdown.

    Found out by giving a small network to the reader for each row; takes some seconds.
    """
    need_training()
    from ..interchange.supported import markdown, rows

    print(markdown(rows()), end="")
