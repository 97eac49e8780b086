"""Every claim by one command: all studies on all data sets that are at hand, each table made once, and what they say
together.

In: studies and data sets, the settings of a lab, a folder. Out: tables, and their summary. A run that was killed goes
on where it was: tables, models and measurements that this code made are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SneError
from ..learn.fit import Progress, quiet
from . import jobs
from .lab import Lab
from .studies import STUDIES, plan, run_study
from .summary import summarise
from .table import table_key

SMALL = ("mnist1d", "fsdd", "fashion-mnist")
ALL_SETS = (*SMALL, "cifar10-jpeg")
CLAIMS: dict[str, tuple[str, ...]] = {  # data sets by study
    "ensemble": ALL_SETS,
    "cascade": ALL_SETS,
    "partition": ALL_SETS,
    "noise": SMALL,
    "baselines": SMALL,
    "timesteps": SMALL[:2],
    "guarantee": ("mnist1d", "fsdd", "fsdd-speakers", "fashion-mnist"),
}
FEW_SCHEMES = {"cifar10-jpeg": ("contiguous", "random", "disentangled", "disentangled-tuned")}  # of so much to train


@dataclass(frozen=True)
class Claim:
    """A study on a data set; the lab for it; what its models would take; whether its table is there already."""

    study: str
    lab: Lab
    estimate: jobs.Estimate
    done: bool

    @property
    def name(self) -> str:
        """Of its table."""
        return self.lab.table(self.study)


@dataclass(frozen=True)
class Planned:
    """The claims to go through, data sets that are not at hand and why, and what all the models would take."""

    claims: list[Claim]
    skipped: dict[str, str]
    total: jobs.Estimate


def planned(lab: Lab, datasets: Sequence[str], folder: Path) -> Planned:
    """What there is to do with the settings of a lab, into `folder`. `datasets`: those to keep to, with all studies
    where no claim is made on them; none: all that claims are made on, of which the ones without data here are skipped.
    Raises `SneError` where one that was asked for is not at hand."""
    pairs = [(study, data) for study, sets in CLAIMS.items() for data in sets if not datasets or data in datasets]
    claimed = {data for _, data in pairs}
    pairs += [(study, data) for data in datasets if data not in claimed for study in STUDIES]
    labs: dict[str, Lab] = {}
    skipped: dict[str, str] = {}
    for data in dict.fromkeys(data for _, data in pairs):
        whole = lab.schemes == Lab.schemes
        labs[data] = replace(lab, dataset=data, schemes=FEW_SCHEMES.get(data, lab.schemes) if whole else lab.schemes)
        try:
            labs[data].data(lab.seeds[0])
        except SneError as error:
            if datasets:
                raise
            skipped[data] = error.message
    found, everything = [], []
    for study, data in sorted(pairs, key=lambda pair: list(labs).index(pair[1])):  # each data set is loaded once
        if data in skipped:
            continue
        own = labs[data] if study == "partition" else replace(labs[data], schemes=Lab.schemes)
        work = [own.job(config) for config in plan(study, own)]
        everything += work
        done = stored_key(folder / f"{own.table(study)}.json") == table_key(study, own)
        found.append(Claim(study, own, jobs.estimate(work, lab.executor), done))
    return Planned(found, skipped, jobs.estimate(everything, lab.executor))


def stored_key(path: Path) -> str | None:
    """What a stored table was made from, or None where there is none, or one that does not say."""
    try:
        key = json.loads(path.read_text(encoding="utf-8")).get("key")
        return key if isinstance(key, str) else None
    except (OSError, ValueError, AttributeError):
        return None


def run_claims(found: Planned, folder: Path, progress: Progress = quiet) -> dict[str, str]:
    """Make the tables that are not there, and the summary after each; what failed, by table, and why."""
    failed = {}
    for claim in found.claims:
        if claim.done:
            continue
        try:
            run_study(claim.study, replace(claim.lab, progress=progress), folder)
        except SneError as error:  # the others can still be made
            failed[claim.name] = error.message
        summarise(folder, found.skipped | failed)
    summarise(folder, found.skipped | failed)
    return failed
