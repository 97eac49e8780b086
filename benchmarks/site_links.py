"""A hook of MkDocs: links out of docs/ to files of the checkout become their names, since a site has no such files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)\)")


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """A page, its links to files outside docs/ told by name; one to a file that is not there is warned of."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def told(found: re.Match[str]) -> str:
        path = (folder / found[2]).resolve()
        if not path.exists() or path.is_relative_to(ROOT / "docs"):
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        return f"`{name}`" if found[1].strip("`") in (name, path.name) else f"{found[1]} (`{name}`)"

    return LINK.sub(told, markdown)
