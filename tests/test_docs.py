"""The documentation site: it builds without a warning, leads to every page, and says what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from page_commands import commands, fault, messages

import sne_edge

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(require_package: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    require_package("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return folder


def test_the_site_builds_without_a_warning_and_shows_every_docstring(site: Path) -> None:
    text = (site / "REFERENCE" / "index.html").read_text(encoding="utf-8")
    for name in sne_edge._HOME:
        assert re.search(rf"<h3[^>]*>.*?sne_edge\.{name}\b.*?</h3>", text, re.S), name
    assert "Raises <code>SneError</code>" in text and "max_drop" in text
    pages = list(site.rglob("index.html"))
    assert len(pages) > 30
    for page in pages:
        markdown = page.read_text(encoding="utf-8")
        assert not re.search("--8 ?(<|&lt;)", markdown)  # a listing of a file that was not put in
        assert "](" not in re.sub(r"<(code|pre)[ >].*?</\1>", "", markdown, flags=re.S)


def test_the_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("index.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert not [address for address in loaded if "canonical" not in address], page


def test_every_public_name_has_its_docstring_in_the_reference() -> None:
    text = (DOCS / "REFERENCE.md").read_text(encoding="utf-8")
    for name, (module, attribute) in sne_edge._HOME.items():
        told = f'::: sne_edge.{module}.{attribute}\n    options:\n      heading: "sne_edge.{name}"\n'
        assert told in text, name
    assert text.count("\n::: ") == len(sne_edge._HOME)


@pytest.mark.examines(commands=150, whole=40)
def test_commands_of_every_page_are_ones_that_there_are(examined: Counter[str]) -> None:
    pages = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    faults = []
    for page in pages:
        for command in commands(page.read_text(encoding="utf-8")):
            examined["commands"] += 1
            examined["whole"] += command.whole
            faults += [f"{page.relative_to(ROOT)}: {command}: {told}" for told in [fault(command)] if told]
    assert not faults, "\n".join(faults)


@pytest.mark.examines(commands=30)
def test_commands_that_messages_tell_are_ones_that_there_are(examined: Counter[str]) -> None:
    faults = []
    for source in sorted((ROOT / "sne_edge").rglob("*.py")):
        for command in messages(source):
            examined["commands"] += 1
            faults += [f"{source.relative_to(ROOT)}: {command}: {told}" for told in [fault(command)] if told]
    assert not faults, "\n".join(faults)


WRONG = {
    "sne-edge trian -o a.sne": "no command",
    "sne-edge verify": "issing argument",
    "sne-edge bench mnist1d --sample 3": "sample",
    "sne-edge train --data mnist1dd -o a.sne": "'mnist1dd' is none of",
    "sne-edge export mnist1d --target cortex-m9": "'cortex-m9' is none of",
    "sne-edge build mnist1d --board microbitt": "'microbitt' is none of",
    "sne-edge study partitions --data fsdd": "'partitions' is none of",
    "sne-edge train --config a.toml": "issing option",
    "sne-edge train --data fsdd --students 99 -o a.sne": "less than or equal to 32",
    "make tests": "no target",
    "pip install '.[trian]'": "no extra",
    "python benchmarks/no.py": "there is no",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_on_a_page_is_found(line: str) -> None:
    (command,) = commands(f"# A page\n\n```sh\n{line}  # to copy\n```\n")
    assert command.whole and WRONG[line] in (fault(command) or "")


def test_who_reports_a_fault_is_asked_for_what_finding_it_takes(require_package: Callable[..., None]) -> None:
    require_package("yaml")
    import yaml

    forms = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")}
    assert forms.pop("config") == {"blank_issues_enabled": True} and len(forms) == 3
    for form in forms.values():
        assert form["name"] and form["description"]
        parts = [part for part in form["body"] if part["type"] != "markdown"]
        assert all(part["type"] in ("textarea", "input") and part["attributes"]["label"] for part in parts)
        assert len({part["id"] for part in parts}) == len(parts)
    asked = {part["id"] for part in forms["bug"]["body"] if part.get("validations", {}).get("required")}
    assert asked == {"what", "command", "model", "board", "doctor"}
    assert "make test" in (ROOT / ".github/PULL_REQUEST_TEMPLATE.md").read_text()
