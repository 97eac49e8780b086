"""Packages: the exported C of models, laid out as an ecosystem's build system and package manager want it.

In: one or several models, a target and the ecosystem's name. Out: a directory whose `src` holds the C, and around it
what the templates in `packages/common` and `packages/ECOSYSTEM` become, each at its own path: MODEL there stands for
each model, NAME for the package, VENDOR for who makes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SneError, nearest, shortened
from ..ir.ensemble import QuantEnsemble
from ..resources import TEMPLATES
from .export import LICENSE, Library, environment, finished, make_library
from .folder import install
from .targets import resolve_target

ECOSYSTEMS = {  # name -> what it is called
    "cmake": "CMake",
    "arduino": "Arduino",
    "platformio": "PlatformIO",
    "zephyr": "Zephyr",
    "esp-idf": "ESP-IDF",
    "micropython": "MicroPython",
    "cmsis-pack": "CMSIS-Pack",
    "rust": "Rust",
    "web": "browsers",
}
FOLDER = TEMPLATES / "packages"
COMMON = FOLDER / "common"  # of every package
VENDOR = "sne-edge"
URL = "https://arxiv.org/abs/2502.14023"  # of the method
VERSION = "1.0.0"

# Targets that CMake keeps for itself, ESP-IDF's own component, and crates that every Rust program has.
_TAKEN_NAMES = re.compile(
    r"all|alloc|clean|core|edit_cache|help|install|main|package|proc_macro|rebuild_cache|std|test"
)  # fmt: skip
# Headers of POSIX and of Arduino, which a package's own would hide: its include path comes before the system's. A model
# named like one of C's has another identifier.
_TAKEN_HEADERS = re.compile(
    r"alloca|ar|arduino|cpio|crypt|dirent|dlfcn|endian|fcntl|features|fnmatch|ftw|getopt|glob|grp|iconv|langinfo|libgen"
    r"|libintl|link|malloc|memory|monetary|mqueue|ndbm|netdb|nl_types|poll|process|pthread|pwd|regex|sched|search"
    r"|semaphore|spawn|strings|stropts|syslog|tar|termios|trace|ulimit|unistd|utime|utmpx|values|wait|wordexp"
)
_TAKEN_MODULES = re.compile(
    r"bluetooth|btree|cryptolib|deflate|esp|esp32|framebuf|lwip|machine|micropython|neopixel|network|onewire|openamp|pyb"
    r"|rp2|stm|umqtt|urequests|vfs|webrepl|" + "|".join(sorted(sys.stdlib_module_names))
)
_RUST_KEYWORDS = re.compile(
    r"abstract|as|async|await|become|box|break|const|continue|crate|do|dyn|else|enum|extern|false|final|fn|for|gen|if|impl"
    r"|in|let|loop|macro|match|mod|move|mut|override|priv|pub|ref|return|self|static|struct|super|trait|true|try|type"
    r"|typeof|unsafe|unsized|use|virtual|where|while|yield"
)


@dataclass(frozen=True)
class Package:
    """What every file of a package says of it, from one place. `ecosystem`: what that is called."""

    name: str
    version: str
    ecosystem: str
    description: str
    license: str = LICENSE
    vendor: str = VENDOR
    url: str = URL

    @property
    def upper(self) -> str:
        """The name, for macros and options."""
        return self.name.upper()


def export_package(
    ensemble: QuantEnsemble | Sequence[QuantEnsemble],
    ecosystem: str,
    target: str,
    directory: Path | str,
    *,
    name: str | None = None,
    version: str = VERSION,
    force: bool = False,
) -> Path:
    """Write a package of `ensemble`, one model or several with one runtime, for an ecosystem (`ECOSYSTEMS`) to
    `directory`, and return that. `name`: of the package, by default the model's; `version`: MAJOR.MINOR.PATCH.

    An earlier export's files there are replaced, as `export.export` does. Raises `SneError` where the directory holds
    no export but something else, where files were changed since and `force` does not say that they go, where the
    ecosystem is not known, and where it cannot take the name.
    """
    files = render_package(ensemble, ecosystem, target, name=name, version=version)
    return install(files, Path(directory), force=force)


def render_package(
    ensemble: QuantEnsemble | Sequence[QuantEnsemble],
    ecosystem: str,
    target: str,
    *,
    name: str | None = None,
    version: str = VERSION,
) -> dict[str, str]:
    """The files of a package, name -> text; see `export_package`."""
    check_ecosystem(ecosystem)
    ensembles = (ensemble,) if isinstance(ensemble, QuantEnsemble) else tuple(ensemble)
    library = make_library(ensembles, resolve_target(target))
    identifiers = [model["id"] for model in library.context["models"]]
    if name is None and len(identifiers) > 1:
        raise SneError("a package of several models needs a name of its own", "give it one with --package-name")
    several = "s" if len(identifiers) > 1 else ""
    package = Package(
        name=identifiers[0] if name is None else name,
        version=version,
        ecosystem=ECOSYSTEMS[ecosystem],
        description=f"Spiking ensemble{several} {library.context['name']}",
    )
    _check_names(package, ecosystem, identifiers)
    files = {f"src/{file}": text for file, text in library.files.items()}
    extra: dict[str, Any] = {}
    if ecosystem == "web":
        from .web import page_context

        extra = page_context(library, package, ensembles)
    files |= _around(library, ecosystem, package, extra)
    moved = {key: [f"src/{file}" for file in library.manifest[key]] for key in ("sources", "library", "headers")}
    about = {"package": ecosystem, "package_name": package.name, "package_version": package.version}
    return finished(files, library.manifest | moved | about)


def check_ecosystem(name: str) -> None:
    """Raise `SneError` where there is no ecosystem of that name."""
    if name not in ECOSYSTEMS:
        say = nearest(name, [*ECOSYSTEMS])
        raise SneError(
            f"there are no packages for {shortened(name)!r}", f"{say}packages are for: {', '.join(ECOSYSTEMS)}"
        )


def _around(library: Library, ecosystem: str, package: Package, extra: dict[str, Any]) -> dict[str, str]:
    """The files around the C. `extra`: what templates of this ecosystem alone take."""
    made: dict[str, str] = {}
    for folder in (COMMON, FOLDER / ecosystem):
        for path in sorted(folder.rglob("*.j2")):
            template = environment().get_template(path.relative_to(TEMPLATES).as_posix())
            output = path.relative_to(folder).as_posix().removesuffix(".j2")
            output = output.replace("NAME", package.name).replace("VENDOR", package.vendor)
            for model in library.context["models"] if "MODEL" in output else [None]:
                context = library.context | {"package": package} | extra | ({"model": model} if model else {})
                made[output.replace("MODEL", model["id"] if model else "")] = template.render(context)
    return made


def _check_names(package: Package, ecosystem: str, identifiers: list[str]) -> None:
    """Raise `SneError` where the package's name or version is none, or a name is another's in this ecosystem."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", package.name):
        raise SneError(
            f"{shortened(package.name)!r} is no name of a package",
            "give a lower-case C identifier of at most 32 letters",
        )
    if not re.fullmatch(r"(0|[1-9]\d{0,5})(\.(0|[1-9]\d{0,5})){2}", package.version, flags=re.ASCII):
        raise SneError(
            f"{shortened(package.version)!r} is no version of a package", "give MAJOR.MINOR.PATCH, such as 1.0.0"
        )
    if _TAKEN_NAMES.fullmatch(package.name):
        raise SneError(f"build systems keep the name {package.name} for themselves", "give another with --package-name")
    if ecosystem == "rust" and _RUST_KEYWORDS.fullmatch(package.name):
        raise SneError(f"{package.name} is a word of Rust's own", "give another with --package-name")
    for identifier in identifiers:
        if ecosystem == "rust" and _RUST_KEYWORDS.fullmatch(identifier):
            raise SneError(f"{identifier} is a word of Rust's own", "give the model another name when it is made")
        if _TAKEN_HEADERS.fullmatch(identifier):
            raise SneError(
                f"a package's {identifier}.h would hide a header of the system's",
                "give the model another name when it is made",
            )
        if ecosystem == "micropython" and _TAKEN_MODULES.fullmatch(identifier):
            raise SneError(
                f"MicroPython has a module {identifier} of its own", "give the model another name when it is made"
            )
