"""The command `calibrate`: what a model does with its students, chosen anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SneError
from .app import app
from .inputs import check_finite, check_memory, check_output, data_for, load
from .options import ChoosingData, DataDir, DecodeLeak, Force, Json, Model, OtherData, Window
from .policy import check_goals, check_policy, print_policy


@app.command(short_help="Choose a model's order and policy anew, without training.")
def calibrate(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: ChoosingData,
    data_dir: DataDir = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the policy may cost; default 0.1.", min=0)
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Promise --max-drop for new samples, with this confidence, such as 0.95: the margin is the lowest of "
            "which that can be said. Default: --max-drop is of the validation samples."
        ),
    ] = None,
    target_ops: Annotated[
        float | None, typer.Option(help="Mean operations of an inference, at most; the most accurate policy wins.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="cascade (default), or routed: the top two classes choose who runs next.")
    ] = None,
    early: Annotated[
        str | None,
        typer.Option(
            help="End a student's timesteps early: exact (no decision changes) or margin (within --max-drop)."
        ),
    ] = None,
    window: Window = None,
    decode_leak: DecodeLeak = None,
    unknown: Annotated[
        str | None,
        typer.Option(
            help="Samples of none of the classes, an .npz with an array x, or a folder of images or recordings: two "
            "thirds of them choose which inputs get no label, the others tell how well."
        ),
    ] = None,
    max_false_alarms: Annotated[
        float | None,
        typer.Option(help="With --unknown: the share of such inputs that may get a label all the same; default 0.05."),
    ] = None,
    narrow: Annotated[
        bool,
        typer.Option(
            "--narrow",
            help="Keep order and policy; give first layers 16-bit membranes, as models before 1.4 lack them.",
        ),
    ] = False,
    fours: Annotated[
        bool,
        typer.Option(
            "--fours",
            help="Keep order and policy; round the channels of a first convolution of values up to a multiple of four, "
            "by neurons that never fire: quicker on Cortex-M4, M7 and M33.",
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split, of a model that does not name its data; others know theirs.", min=0),
    ] = None,
    other_data: OtherData = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose order and policy of a model anew, by accuracy or by operations, without training it; what its live stream
    remembers; and which inputs are none of its classes."""
    from ..data.unknown import load_unknown
    from ..ir.artifact import save
    from ..ir.layout import encoder_layout
    from ..pipeline.recalibrate import recalibrate, renew
    from ..quantize.calibrate import check_labels
    from ..quantize.narrow import narrowed
    from ..quantize.reject import check_rate
    from ..quantize.widen import widened

    check_goals(max_drop, target_ops)
    others = (max_drop, confidence, target_ops, policy, early, window, decode_leak, unknown)
    if (narrow or fours) and others != (None,) * len(others):
        raise SneError(
            f"{'--narrow' if narrow else '--fours'} keeps the policy and all else",
            "give --max-drop, --target-ops, --policy, --early, --window, --decode-leak or --unknown without it",
        )
    if max_false_alarms is not None and unknown is None:
        raise SneError("--max-false-alarms is given without --unknown", "give samples of none of the classes, too")
    check_finite(max_false_alarms=max_false_alarms, confidence=confidence)
    if max_false_alarms is not None:
        check_rate(max_false_alarms)
    ensemble = load(model)
    check_labels(ensemble)
    check_output(output, force)
    check_policy(ensemble, max_drop, target_ops, policy, early)
    check_memory(ensemble, window, decode_leak)
    dataset = data_for(ensemble, data, data_dir, other_data, seed)
    strangers = None if unknown is None else load_unknown(unknown, dataset, encoder_layout(ensemble.encoder))
    promised = None
    if narrow or fours:
        made = ensemble
        for wanted, change in ((narrow, narrowed), (fours, widened)):
            made = renew(made, dataset, change, other=other_data) if wanted else made
    else:
        made, promised = recalibrate(
            ensemble, dataset, 0.1 if max_drop is None else max_drop, target_ops=target_ops, kind=policy or "cascade",
            early=early, other=other_data, window=window, leak=decode_leak, unknown=strangers,
            max_false_alarms=0.05 if max_false_alarms is None else max_false_alarms, confidence=confidence,
        )  # fmt: skip
    save(made, output)
    print_policy(made, promised, dataset, output, as_json)
