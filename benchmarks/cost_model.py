"""Fit the cost model: what each count of `sne_edge.deploy.work` costs on every core; and say how far off it is.

`make cost-model` makes random networks with every kernel and kind of neuron, has an emulated core run their layers one
by one on inputs of chosen density, and fits what came out: coefficients that are right in the mean, and others that no
measurement exceeds. Writes sne_edge/deploy/cost.json. Then models that were not fitted on are counted whole, beside
what the cost model says of them: docs/results/cost-model.md.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from cost_fit import Equation, equation, errors, fit, fit_code, fit_stack
from cost_heldout import ALL, Error, HeldOut, compare, counted, held_out, operations
from cost_jobs import jobs_of, measure
from cost_networks import BODIES, MODELS, make_models
from sne_edge.codegen.layout import state_layout

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.cost import COEFFICIENTS, KERNELS, forget_costs, runtime_digest
from sne_edge.errors import SneError
from sne_edge.files import write_whole
from sne_edge.ir.ensemble import QuantEnsemble

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results"
# One for each core that has kernels of its own.
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547", "riscv32-virt")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", nargs="*", default=list(BOARDS), help="boards whose cores are measured")
    parser.add_argument("--models", type=int, default=MODELS, help="networks of every kernel that are measured")
    parser.add_argument("--bodies", type=int, default=BODIES, help="networks of a search's bodies that are measured")
    parser.add_argument("--only-errors", action="store_true", help="fit nothing: compare what is stored")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    if not options.only_errors:
        models = make_models(options.models, options.bodies)
        for board in options.boards:
            core = fit_core(board, models)
            if not options.dry_run:
                store(resolve_board(board).target, core)
    found = held_out_errors(options.boards, held_out())
    text = table(found)
    print(text)
    if not options.dry_run:
        content = {core: [asdict(error) for error in rows] for core, rows in found.items()}
        stored = (json.dumps(content, indent=1) + "\n").encode()
        write_whole(RESULTS / "cost-model.json", lambda file: file.write(stored))
        write_whole(RESULTS / "cost-model.md", lambda file: file.write(text.encode()))
    return 0


def fit_core(board: str, models: Sequence[QuantEnsemble]) -> dict[str, Any]:
    """A board's core, as `store` keeps it."""
    started = time.monotonic()
    found = list(ThreadPoolExecutor(2).map(lambda model: _measured(board, model), models))
    equations = [e for part, _ in found for e in part]
    mean, most = fit(equations)
    error, over = errors(equations, mean), errors(equations, most)
    large = np.array([e.instructions > 3000 for e in equations])
    print(
        f"{board}: {len(equations)} measurements, {len(mean)} coefficients, "
        f"error median {np.median(abs(error)):.2%}, 95 % {np.quantile(abs(error), 0.95):.2%}, "
        f"of the larger ones at most {abs(error[large]).max():.2%}; "
        f"bounds over by {np.median(over):.2%}, at least {over.min():.4%}; {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return {
        "instructions": {name: [value, most[name]] for name, value in mean.items()},
        "stack": fit_stack([part for part, _ in found]),
        "code": fit_code(models, [symbols for _, symbols in found]),
    }


def _measured(board: str, model: QuantEnsemble) -> tuple[list[Equation], dict[str, int]]:
    layout = state_layout(model)
    jobs = jobs_of(random.Random(1), model, layout)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        told, symbols = measure(board, model, jobs, Path(folder))
    kernels = KERNELS[resolve_board(board).target]
    return [equation(model, layout, job, line, kernels) for job, line in zip(jobs, told, strict=True)], symbols


def store(name: str, core: dict[str, Any]) -> None:
    """Put a core's costs, of this runtime, beside those of others."""
    stored = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    text = json.dumps({**stored, name: {"runtime": runtime_digest(), **core}}, separators=(",", ":"))
    COEFFICIENTS.write_text(text.replace('],"', '],\n"') + "\n")
    forget_costs()


def held_out_errors(boards: Sequence[str], models: Sequence[HeldOut]) -> dict[str, list[Error]]:
    """By core; a model that a board has no room for is left out there."""
    works = [(one, operations(one)) for one in models]
    found: dict[str, list[Error]] = {}
    for board in boards:
        rows = found.setdefault(resolve_board(board).target, [])
        for one, ops in works:
            try:
                counts, _, _ = counted(one.model, board, one.inputs, [ALL])
            except SneError as error:
                print(f"{board}: {one.name} is left out: {error.message}", flush=True)
                continue
            rows.append(compare(one, board, counts[0], ops))
    return found


def table(found: dict[str, list[Error]]) -> str:
    """The errors as Markdown: a row a model, a column a core."""
    abouts = {error.name: error.about for rows in found.values() for error in rows}
    known = {core: {error.name: error for error in rows} for core, rows in found.items()}
    lines = [
        "# How far off the cost model is", "",
        "`make cost-model`: mean instructions of an inference by all students, as modelled from the operations of each "
        "layer, less what QEMU counts, in percent. No model here was fitted on. Bodies have random weights, and "
        "thresholds at which about the share of neurons fires that is given last. Bound: over the most that an input "
        "took.", "",
        "| model | " + " | ".join(found) + " | what |", "|---|" + "---|" * (len(found) + 1),
    ]  # fmt: skip
    for name, about in abouts.items():
        cells = [f"{known[core][name].relative:+.1%}" if name in known[core] else "no room" for core in found]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {about} |")
    for what, of in (("median of all", np.median), ("largest", np.max)):
        cells = [f"{of([abs(error.relative) for error in rows]):.1%}" for rows in found.values()]
        lines.append(f"| **{what}** | " + " | ".join(cells) + " | |")
    cells = [f"{sum(abs(e.relative) <= 0.05 for e in rows)} of {len(rows)}" for rows in found.values()]
    lines.append("| **within 5 %** | " + " | ".join(cells) + " | |")
    ratios = [[error.worst / error.most for error in rows] for rows in found.values()]
    cells = [f"{min(some):.2f} to {max(some):.2f}" for some in ratios]
    lines.append("| **bound** | " + " | ".join(cells) + " | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
