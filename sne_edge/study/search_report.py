"""What a search found: a table, a picture, and a report with the chosen settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..files import write_whole
from ..pipeline import settings
from .pictures import Picture, draw_picture
from .search import Found
from .search_space import Candidate, Limits, pareto


def rows(found: Found) -> Iterator[list[str]]:
    """The candidates that nothing beats, and the chosen one, as a table's rows."""
    for one in pareto([*found.candidates]):
        yield row(one, "chosen" if one == found.chosen else "")
    if found.chosen not in pareto(found.candidates):
        yield row(found.chosen, "chosen")


COLUMNS = (
    *("trial", "students", "timesteps", "channels", "kernels", "strides", "bits", "decay"),
    *("validation", "instructions", "flash B", "RAM B", ""),
)


def row(one: Candidate, note: str) -> list[str]:
    """One candidate's row."""
    body = one.body
    decay = "learnt" if body.learn_decay else f"1-2^-{body.shift}"
    lists = (",".join(map(str, part)) for part in (body.channels, body.kernels, body.strides))
    return [
        *(str(one.trial), str(one.students), str(one.timesteps), *lists, str(body.bits), decay),
        *(f"{one.accuracy:.2%}", f"{one.instructions:,}", f"{one.flash:,}", f"{one.ram:,}", note),
    ]


def draw(found: Found, limits: Limits, path: Path) -> Path:
    """Validation accuracy after the short trainings against modelled instructions."""
    front = pareto(found.candidates)
    picture = Picture(
        x=f"instructions of an inference on {limits.target}, modelled",
        y="validation accuracy after a short training, %",
        curves={"nothing beats these": [(c.instructions, 100 * c.accuracy, 0.0) for c in front]},
        points={
            "chosen": [(found.chosen.instructions, 100 * found.chosen.accuracy, 0.0)],
            **({"others": others} if (others := _others(found, front)) else {}),
        },
    )
    return draw_picture(picture, f"{found.model.name}: {len(found.candidates)} candidates", path)


def _others(found: Found, front: list[Candidate]) -> list[tuple[float, float, float]]:
    return [(c.instructions, 100 * c.accuracy, 0.0) for c in found.candidates if c not in front and c != found.chosen]


def write_report(found: Found, limits: Limits, command: str, path: Path) -> None:
    """The table of all candidates, the command and the chosen one's settings, as Markdown."""
    estimate = found.needed.estimates[0]
    lines = [
        f"# {found.model.name} for {limits.target}", "", f"`{command}`", "",
        f"{len(found.candidates)} candidates were trained, {found.refused} refused by the cost model. The chosen one, "
        f"trained in full, takes {estimate.mean:,} instructions as modelled and {estimate.worst:,} at most, "
        f"{found.needed.flash_bytes:,} bytes of flash and {found.needed.ram_bytes + found.needed.stack_bytes:,} of RAM "
        "with its stack.", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|",
    ]  # fmt: skip
    lines[4:4] = [line for trial, why in found.failed.items() for line in (f"Trial {trial} failed: {why}", "")]
    order = sorted(found.candidates, key=lambda c: (-c.rung, -c.accuracy, c.instructions, c.trial))
    lines += ["| " + " | ".join(row(one, "chosen" if one == found.chosen else "")) + " |" for one in order]
    lines += [
        "",
        "Its settings, for `sne-edge train --config`:",
        "",
        "```toml",
        settings.write(found.config).rstrip(),
        "```",
    ]
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))
