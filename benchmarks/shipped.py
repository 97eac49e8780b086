"""The table of the models that ship, written anew from what the models say of themselves and what their cards measured.

    python benchmarks/shipped.py

In: the shipped models, docs/models/NAME.md. Out: the table in docs/models/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from sne_edge.files import write_whole
from sne_edge.ir.artifact import load, zoo_names

CARDS = Path(__file__).parents[1] / "docs" / "models"
COLUMNS = (
    "model", "its teacher", "MACs", "one student", "all", "own policy", "operations", "students run",
    "instructions, M4", "flash", "RAM",
)  # fmt: skip
TABLE = re.compile(rf"^\| {COLUMNS[0]} \|.*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
ON_M4 = re.compile(r"^\| cortex-m4 \| \S+ \| \S+ \| ([\d,]+) \|", re.MULTILINE)
MEMORY = re.compile(r"^Tables ([\d,]+) bytes of flash, state ([\d,]+) bytes of RAM", re.MULTILINE)


def row(name: str, card: str) -> list[str]:
    """Of one model: accuracies on test samples, means over them, bytes."""
    made = load(name)
    teacher, (one, *_, whole, own) = made.provenance["teacher"], made.provenance["integer"]["test"]
    counted, memory = ON_M4.search(card), MEMORY.search(card)
    assert counted is not None and memory is not None, f"the card of {name} says no instructions, or no bytes"
    return [
        f"[{name}]({name}.md)", f"{teacher['test']:.1%}", f"{teacher['macs']:,}", f"{one['accuracy']:.1%}",
        f"{whole['accuracy']:.1%} ({len(made.students)})", f"**{own['accuracy']:.1%}**", f"{own['operations']:,.0f}",
        f"{own['students_run']:.2f}", counted[1], memory[1], memory[2],
    ]  # fmt: skip


def table(cards: Path = CARDS) -> str:
    """Of all models, by the teacher's size."""
    rows = [row(name, (cards / f"{name}.md").read_text(encoding="utf-8")) for name in zoo_names()]
    rows.sort(key=lambda cells: int(cells[2].replace(",", "")))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows))


def renewed(page: str, cards: Path = CARDS) -> str:
    """A page with its table made anew."""
    text, count = TABLE.subn(lambda _: table(cards), page)
    assert count == 1, f"the page has {count} tables of models"
    return text


def main() -> None:
    """Write it into its page."""
    page = CARDS / "README.md"
    text = renewed(page.read_text(encoding="utf-8"))
    write_whole(page, lambda file: file.write(text.encode()))
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
