"""Commands that run a model: `eval`, `verify`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError, SneWarning
from .app import app
from .inputs import (
    check_output,
    check_places,
    default_places,
    described,
    encoded_samples,
    frame_log,
    load,
    need_training,
)
from .options import Baud, Data, DataDir, Force, Json, Model, On, OtherData, PolicyOption, Rate, Rtscts, Trace
from .output import bars, print_json, print_table, status, tell

if TYPE_CHECKING:
    import numpy as np

    from ..check.verify import Check
    from ..ir.ensemble import QuantEnsemble


@app.command(name="eval", short_help="Accuracy and operations of a data set, policy by policy.")
def evaluate(
    model: Model,
    data: Data = None,
    data_dir: DataDir = None,
    other_data: OtherData = False,
    policy: PolicyOption = None,
    as_json: Json = False,
    jobs: Annotated[int | None, typer.Option(help="Threads that share the samples; default all cores.", min=1)] = None,
    energy: Annotated[
        bool,
        typer.Option("--energy", help="Also count as NeuroBench does, on up to 1,000 samples, and estimate energy."),
    ] = False,
) -> None:
    """Accuracy and mean operations of a data set on the host build, per policy."""
    from dataclasses import asdict

    import msgspec

    from ..check.evaluation import commonest, default_policies, of_no_use
    from ..check.evaluation import evaluate as evaluate_with
    from ..deploy.engine import HostEngine
    from ..deploy.host import HostModel
    from ..ir.policy import format_policy, parse_policy
    from ..study import energy as energies

    if energy:
        need_training()
    ensemble = load(model)
    policies = [parse_policy(text, ensemble) for text in policy or []] or default_policies(ensemble)
    if energy:
        energies.check_accountable(ensemble, policies)
    inputs, labels = encoded_samples(ensemble, data, data_dir, other_data)
    chosen, results, accounts = inputs[: energies.SAMPLES], [], []
    with bars(brief=True) as progress:
        engine = HostEngine(HostModel(ensemble), jobs)
        for number, one in enumerate(policies):
            progress("evaluating", number, len(policies), format_policy(one)[:24])
            results += evaluate_with(engine, inputs, labels, [one])
        progress("evaluating", len(policies), len(policies), "")
        if energy:
            accounts = energies.account(ensemble, chosen, policies, progress)
    known = labels[labels >= 0]
    best = max((r.accuracy for r in results if r.accuracy is not None), default=None)
    if data is not None and best is not None and of_no_use(best, known):
        warnings.warn(
            f"{best:.1%} of the samples are labelled rightly, where the commonest class makes {commonest(known):.1%}",
            SneWarning,
            stacklevel=1,
        )
    if as_json:
        rows = [asdict(r) | {"operations": r.operations} for r in results]
        for row, found in zip(rows, accounts, strict=False):
            row["neurobench"] = found.counts.named()
            row["energy"] = found.estimate.named() | {"samples": len(chosen), "note": energies.DISCLAIMER}
        print_json(rows)
        return
    rejects = ensemble.rejection is not msgspec.UNSET
    print_table(
        f"{ensemble.name}: {described(data, len(labels))}",
        [
            "policy",
            "accuracy",
            *(["no label"] if rejects else []),
            "students",
            "operations",
            "synaptic",
            "MACs",
            "neuron updates",
        ],
        [
            [
                r.policy,
                "-" if r.accuracy is None else f"{r.accuracy:.2%}",
                *([f"{r.rejected:.2%}"] if rejects else []),
                f"{r.students_run:.2f}",
                f"{r.operations:,.0f}",
                f"{r.synaptic_ops:,.0f}",
                f"{r.macs:,.0f}",
                f"{r.neuron_updates:,.0f}",
            ]
            for r in results
        ],
        spare=("neuron updates", "MACs", "synaptic"),
    )
    if not energy:
        return
    teacher = energies.estimate_teacher(ensemble)
    print_table(
        f"as NeuroBench counts, and estimates of energy: means over {len(chosen):,} samples",
        [
            "policy",
            *("effective MACs", "effective ACs", "dense", "membrane updates", "activation sparsity"),
            "arithmetic, nJ",
            "teacher / it",
            "with memory, nJ",
            "teacher / it",
        ],
        [
            [
                r.policy,
                *(f"{n:,.0f}" for n in list(a.counts.named().values())[:4]),
                f"{a.counts.activation_sparsity:.3f}",
                f"{a.estimate.arithmetic / 1000:,.2f}",
                f"{teacher.arithmetic / a.estimate.arithmetic:,.1f}" if teacher else "-",
                f"{a.estimate.total / 1000:,.2f}",
                f"{teacher.total / a.estimate.total:,.1f}" if teacher else "-",
            ]
            for r, a in zip(results, accounts, strict=True)
        ],
        spare=("dense", "membrane updates", "activation sparsity", "effective MACs", "effective ACs"),
    )
    counts = accounts[0].counts
    print(f"ConnectionSparsity {counts.connection_sparsity:.4f}, Footprint {counts.footprint:,} bytes")
    tell(f"{energies.DISCLAIMER}; the teacher is taken as int8")


@app.command(short_help="Prove that reference, C and devices agree in every bit.")
def verify(
    model: Model,
    on: On = None,
    data: Data = None,
    data_dir: DataDir = None,
    other_data: OtherData = False,
    count: Annotated[int, typer.Option(help="How many samples to compare.", min=1)] = 32,
    baud: Baud = 115200,
    rate: Rate = None,
    rtscts: Rtscts = False,
    trace: Trace = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Prove that reference, host build and devices agree in every spike count, membrane, logit and decision."""
    from dataclasses import asdict

    from ..check.verify import verify as compare
    from ..deploy.engine import HostEngine, expected_engine
    from ..deploy.host import HostModel
    from ..link.connect import connect
    from ..link.engine import DeviceEngine

    ensemble = load(model)
    places = on or default_places(["host"])
    check_places(where for where in places if where != "onnx")
    if trace is not None:
        check_output(trace, force, "--trace")
    inputs = encoded_samples(ensemble, data, data_dir, other_data)[0][:count]
    checks: list[Check] = []
    with status() as say, frame_log(trace) as log:
        if "onnx" in places:
            checks += _verify_onnx(ensemble, inputs, say)
        places = [where for where in places if where != "onnx"]
        if places:
            say("compiling for this computer")
            host = HostModel(ensemble)
            expected = expected_engine(ensemble, host)
            if expected.name == "host":
                print("note: torch is not installed; devices are held against the host build", file=sys.stderr)
        for where in places:
            if where == "host":
                checks += compare(ensemble, inputs, expected, [HostEngine(host)], say)
                continue
            with connect(ensemble, where, say, trace=True, baud=baud, rate=rate, rtscts=rtscts, log=log) as (device, _):
                engine = DeviceEngine(device, where)
                checks += compare(ensemble, inputs, expected, [engine], say)
    checks = list(dict.fromkeys(checks))
    if as_json:
        print_json([asdict(c) for c in checks])
    else:
        print_table(
            f"{ensemble.name}: every number compared for equality",
            ["engine", "against", "inputs", "policies", "numbers", "result"],
            [
                [
                    c.engine,
                    c.against,
                    str(c.inputs),
                    str(c.runs),
                    f"{c.compared:,}",
                    "equal" if c.difference is None else "DIFFERENT",
                ]
                for c in checks
            ],
            left=2,
        )
    for check in checks:
        if check.difference is not None:
            raise SneError(
                f"{check.engine} differs from {check.against}: {check.difference}",
                "build the firmware again from this model; if it still differs, please report it with the .sne file",
            )


def _verify_onnx(ensemble: QuantEnsemble, inputs: np.ndarray, say: Callable[[str], None]) -> list[Check]:
    """The ONNX models against the reference, on hard inputs as well; without torch against the host build."""
    import numpy as np

    from ..check.verify import Engine, ReferenceEngine
    from ..check.verify import verify as compare
    from ..deploy.engine import HostEngine
    from ..deploy.host import HostModel
    from ..interchange.onnx_engine import OnnxEngine, hard_inputs

    expected: Engine = ReferenceEngine(ensemble) if find_spec("torch") else HostEngine(HostModel(ensemble))
    return compare(
        ensemble, np.concatenate([inputs, hard_inputs(ensemble.encoder)]), expected, [OnnxEngine(ensemble)], say
    )
