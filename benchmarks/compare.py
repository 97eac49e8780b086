"""Results against stored ones.

In: results, `row -> core -> metric -> number`. Out: what got worse by more than the tolerance, and the baseline's file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

Metrics = dict[str, float | None]
Results = dict[str, dict[str, Metrics]]

TOLERANCE = 0.02
WORKLOAD = ("synaptic_ops", "macs")  # metrics that begin so say how much there was to do, not what it cost


@dataclass(frozen=True)
class Change:
    """A number and the stored one; `after` None: the model does not fit any more."""

    row: str
    core: str
    metric: str
    before: float
    after: float | None

    def __str__(self) -> str:
        where = f"{self.row}, {self.core}: {self.metric} {self.before:,g}"
        if self.after is None:
            return f"{where} -> does not fit"
        percent = f" ({self.after / self.before - 1:+.1%})" if self.before else ""
        return f"{where} -> {self.after:,g}{percent}"


def worse(results: Results, baseline: Results) -> list[Change]:
    """Every instruction count and size that is more than the tolerance above the baseline's. What only one of the two
    holds is new, or was not measured: no change."""
    changes = []
    for row, cores in results.items():
        for core, metrics in cores.items():
            stored = baseline.get(row, {}).get(core, {})
            for metric, after in metrics.items():
                before = stored.get(metric)
                if before is None or metric.startswith(WORKLOAD):
                    continue
                if after is None or after > before + TOLERANCE * abs(before):
                    changes.append(Change(row, core, metric, before, after))
    return changes


def merged(baseline: Results, results: Results) -> Results:
    """The baseline with what was measured in place of what it held for the same rows and cores."""
    rows = dict(baseline)
    for row, cores in results.items():
        rows[row] = {**rows.get(row, {}), **cores}
    return rows


def read(path: Path) -> Results:
    """Results from a file; none where there is no file."""
    results: Results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return results


def write(results: Results, path: Path) -> None:
    """Write results so that equal ones make equal bytes."""
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
