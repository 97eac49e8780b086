"""The command `ensemble`: several models become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import complete
from .app import app
from .inputs import check_name, check_output, data_for, load
from .options import ChoosingData, DataDir, Force, Json, OtherData
from .policy import check_goals, check_policy, print_policy


@app.command(short_help="Make several models of one input one, with a cascade.")
def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more .sne files: of one input, encoder and classes.", autocompletion=complete.models
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: ChoosingData,
    data_dir: DataDir = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the cascade may cost; default 0.1.", min=0)
    ] = None,
    target_ops: Annotated[
        float | None, typer.Option(help="Mean operations of an inference, at most; the most accurate policy wins.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="cascade, or routed: the top two classes choose who runs next.")
    ] = "cascade",
    early: Annotated[
        str | None,
        typer.Option(
            help="End a student's timesteps early: exact (no decision changes) or margin (within --max-drop)."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the output file's.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split, of models that do not name their data; others know theirs.", min=0),
    ] = None,
    other_data: OtherData = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make several models one ensemble: their logits add up, and a calibrated cascade wakes as many as an input needs.

    Networks of your own, chains or graphs, as `quantize` makes them; each one's logits are stretched by a factor that
    the validation samples choose.
    """
    from ..ir.artifact import save
    from ..pipeline.ensemble import ensemble_of
    from ..quantize.calibrate import check_labels
    from ..quantize.join import shared_encoder

    check_goals(max_drop, target_ops)
    check_output(output, force)
    check_name(name or output.stem.lower())
    members = [load(model) for model in models]
    for member in members:
        check_labels(member)
    shared_encoder(members)
    check_policy(members[0], max_drop, target_ops, policy, early)
    dataset = data_for(members[0], data, data_dir, other_data, seed)
    made, promised = ensemble_of(
        members, name or output.stem.lower(), dataset, 0.1 if max_drop is None else max_drop, target_ops=target_ops,
        kind=policy, early=early, other=other_data,
    )  # fmt: skip
    save(made, output)
    print_policy(made, promised, dataset, output, as_json)
