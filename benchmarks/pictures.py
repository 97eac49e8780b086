"""Every picture in docs/, drawn anew from what is stored: nothing is measured or trained.

In: the shipped models, docs/results/*.json, baseline.json. Out: PNGs where they lie.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import figures
import fronts
import msgspec

from sne_edge.ir.artifact import load
from sne_edge.study.pictures import Picture, draw, draw_picture

ROOT = Path(__file__).parents[1]


def redraw(source: Path, folder: Path) -> list[Path]:
    """Draw into `folder`, laid out as docs/ is, what `source`, docs/, holds; returns the files."""
    (folder / "results").mkdir(parents=True, exist_ok=True)
    drawn = [draw(load("mnist1d"), folder / "mnist1d.png")]
    for path in sorted((source / "results").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if path.name.startswith("cnn-"):
            drawn.append(fronts.draw(record, folder / "results"))
        elif isinstance(record, dict) and record.get("picture"):
            picture = msgspec.convert(record["picture"], Picture)
            drawn.append(draw_picture(picture, record["title"], folder / "results" / f"{path.stem}.png"))
    baseline = json.loads((Path(__file__).parent / "baseline.json").read_text(encoding="utf-8"))
    return drawn + figures.draw(baseline, folder)


def main() -> None:
    """Draw into docs/, or where --output says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", metavar="FOLDER")
    for path in redraw(ROOT / "docs", parser.parse_args().output):
        print(path)


if __name__ == "__main__":
    main()
