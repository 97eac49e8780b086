"""Training settings as a TOML file: what decides a run, to be read, changed and given again.

In: a path, or a `TrainConfig`. Out: the other. Settings that a file leaves out are those of the data set's preset.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from ..errors import SneError, nearest, shortened
from ..files import read_file
from ..learn.augmentation import parse
from ..resources import PACKAGE
from .config import TrainConfig
from .presets import preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIMIT = 2**20  # bytes: settings are short
RECIPES = PACKAGE / "recipes"
TABLES = ("body", "recipe", "augmentation")


def shipped() -> dict[str, Path]:
    """The files of settings that ship with the package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


HINT = (
    "give a TOML file as `sne-edge train` writes one beside each model, or the name of one that ships: "
    f"{', '.join(shipped())}"
)


def read(path: Path | str) -> TrainConfig:
    """The settings in a file, or in the shipped one of that name; `SneError` names what is unknown or of a wrong kind
    in it."""
    if not Path(path).exists():
        path = shipped().get(str(path), path)
    try:
        text = read_file(path, LIMIT, hint=HINT).decode("utf-8")
        given = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SneError(f"{shortened(path)} is no TOML file: {error}", HINT) from None
    dataset = given.get("dataset", TrainConfig.dataset)
    base = preset(dataset if isinstance(dataset, str) else TrainConfig.dataset)
    merged = asdict(base)
    if isinstance(word := given.get("augmentation"), str):
        try:
            given["augmentation"] = asdict(parse(word))
        except SneError as error:
            raise SneError(f"{shortened(path)}: {error.message}", error.hint) from None
    _merge(merged, given, str(shortened(path)), "")
    try:
        return msgspec.convert(merged, TrainConfig)
    except msgspec.ValidationError as error:
        raise SneError(f"{shortened(path)}: {error}", HINT) from None


def write(config: TrainConfig) -> str:
    """The TOML text of all settings; what is None is left out."""
    values = asdict(config)
    lines = _lines({name: value for name, value in values.items() if name not in TABLES})
    for table in TABLES:
        lines += ["", f"[{table}]", *_lines(values[table])]
    return "\n".join(lines) + "\n"


def changed(config: TrainConfig, **given: Any) -> TrainConfig:
    """`config` with those of the settings that are not None."""
    known = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in given.items() if name in known and value is not None})


def with_epochs(config: TrainConfig, epochs: int) -> TrainConfig:
    """`config` with so many epochs in which students learn: alone, where its recipe has such, else jointly."""
    recipe = config.recipe
    taught = replace(recipe, alone=epochs) if recipe.alone else replace(recipe, joint=epochs)
    return replace(config, recipe=taught)


def _merge(into: dict[str, Any], given: dict[str, Any], path: str, table: str) -> None:
    """Put a table's settings over those of the preset."""
    for name, value in given.items():
        if name not in into:
            where = f" in [{table}]" if table else ""
            raise SneError(
                f"{path}: there is no setting {shortened(name)!r}{where}",
                f"{nearest(name, into)}settings are: {', '.join(into)}",
            )
        if isinstance(into[name], dict):
            if not isinstance(value, dict):
                raise SneError(f"{path}: {name} is a table", f"write [{name}] and its settings below it")
            _merge(into[name], value, path, name)
        else:
            into[name] = value


def _lines(settings: dict[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in settings.items() if value is not None]


def _value(value: Any) -> str:
    """A TOML value; strings and numbers are JSON's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
