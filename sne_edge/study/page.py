"""The page that shows a `Report`: one HTML file that asks nothing of a network and runs no script."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup, escape

from ..data.named import ORIGINS
from ..resources import PACKAGE
from .card import provenance_lines
from .energy import DISCLAIMER
from .report import Report

TEMPLATES = PACKAGE / "study" / "templates"


def _told(provenance: dict[str, Any]) -> list[str]:
    """Where a model comes from; of a file that says it in another way, nothing."""
    try:
        return provenance_lines(provenance)
    except (KeyError, TypeError, AttributeError, ValueError):
        return []


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    environment.filters["count"] = lambda value: "-" if value is None else f"{value:,.0f}"
    environment.filters["code"] = _code
    environment.filters["nano"] = lambda value: f"{value / 1000:,.2f}"
    return environment


def _code(text: str) -> Markup:
    """Markdown's backticks as HTML, all else as it is."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def html(made: Report) -> str:
    """The page."""
    ensemble, flash = made.ensemble, made.structure.flash
    kinds = [
        ("weights", flash.weights),
        ("padding", flash.padding),
        ("biases and thresholds", flash.thresholds),
        ("structures", flash.structures),
        ("front end", flash.frontend),
    ]
    most = max((row.flash_bytes for row in made.structure.layers), default=1) or 1
    deepest = max((row.ram_bytes for row in made.structure.layers), default=1) or 1
    trained = ensemble.provenance.get("dataset")
    name = trained.get("name") if isinstance(trained, dict) else None
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            r=made,
            e=ensemble,
            s=made.structure,
            own=made.own,
            kinds=[kind for kind in kinds if kind[1]],
            flash=sum(size for _, size in kinds) or 1,
            most=most,
            deepest=deepest,
            disclaimer=DISCLAIMER,
            rejection=None if ensemble.rejection is msgspec.UNSET else ensemble.rejection,
            regression=ensemble.regression,
            origin=ORIGINS.get(str(name)),
            told=_told(ensemble.provenance),
            provenance=json.dumps(ensemble.provenance, indent=1, default=str)[:20_000],
        )
    )
