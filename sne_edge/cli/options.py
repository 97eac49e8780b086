"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import complete

Model = Annotated[
    str,
    typer.Argument(
        help="An .sne file, or the name of a model that ships with sne-edge.", autocompletion=complete.models
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the files of named data sets.", envvar="SNE_EDGE_DATA"),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a file that is there already.")]
Baud = Annotated[int, typer.Option(help="Speed of a serial port, at which the board starts.", min=1)]
Rate = Annotated[
    int | None,
    typer.Option(help="Then ask the board for this speed; where it isn't heard there, both stay at the first.", min=1),
]
Rtscts = Annotated[bool, typer.Option("--rtscts", help="The serial port has flow control by hardware.")]
Trace = Annotated[
    Path | None, typer.Option("--trace", help="Write every frame to and from the device to this file, as text.")
]
Data = Annotated[
    str | None,
    typer.Option(
        help="A data set by name (mnist1d), an .npz, or a folder of images or recordings: its test part, or, of the "
        "data that the model was trained with, what that held out. Default: the golden vectors.",
        autocompletion=complete.data_sets,
    ),
]
ChoosingData = Annotated[
    str,
    typer.Option(
        help="A data set or .npz; its validation part chooses, its test part tells.",
        autocompletion=complete.data_sets,
    ),
]
OtherData = Annotated[
    bool,
    typer.Option(
        "--other-data",
        help="The model has seen none of this data: judge by it, though it can't be told from what it "
        "was trained with.",
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        help="Where to run: host, qemu:BOARD, a serial port, socket://HOST:PORT, or onnx: its ONNX models in "
        "onnxruntime, on extreme and random inputs as well. May be repeated. "
        "Default: host, and QEMU with the target's board where the tools are installed.",
        autocompletion=complete.places,
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        help="Where students learn: inline, processes, processes:N, ray or ray://ADDRESS.",
        autocompletion=complete.words(*complete.EXECUTORS),
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option("--device", help="Where networks learn: auto (a GPU where there is one), cpu, cuda, cuda:N or mps."),
]
Precision = Annotated[
    str,
    typer.Option(help="Of convolutions and products while they learn: auto, float32 or bfloat16."),
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        help="own, all, first:N, mask:M, cascade[:M1,...], routed[:M1,...] or budget:OPS. May be repeated.",
        autocompletion=complete.words(*complete.POLICIES),
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Of models of raw events or frames: readouts add up the last so many timesteps, for endless live streams."
    ),
]
DecodeLeak = Annotated[
    float | None,
    typer.Option(help="Likewise: readouts keep this share, 0..1, of what they hold from timestep to timestep."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help="Axes of an .npz's samples, a letter each, where their shape leaves a choice: NL, NCL, NLC, NHW, NCHW, "
        "NHWC; NC of a table's columns; of rasters of events with a T: NTCHW. Default: what the file's array `layout` "
        "says."
    ),
]
