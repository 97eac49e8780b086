"""Writes the notebooks anew, each from the script of its name: `python examples/notebooks.py` (`make notebooks`).

The script is what is edited; the notebook has its cells and no outputs, and the same script makes the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import jupytext

HERE = Path(__file__).parent
SCRIPTS = (HERE / "own_network" / "network.py", HERE / "stream" / "live.py")


def notebook(script: Path) -> str:
    """The notebook of a script in jupytext's percent format, as the text of an .ipynb file."""
    made = jupytext.read(script, fmt="py:percent")
    made.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(made.cells, 1):
        cell["id"] = f"cell-{number}"  # jupytext draws them
    return str(jupytext.writes(made, fmt="ipynb")).rstrip() + "\n"


def main() -> None:
    for script in SCRIPTS:
        script.with_suffix(".ipynb").write_text(notebook(script), encoding="utf-8")


if __name__ == "__main__":
    main()
