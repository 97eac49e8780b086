"""An extension of griffe, for the documentation site: what docstrings align in columns stays aligned.

Docstrings here are plain text. Paragraphs become paragraphs; those that are indented, or hold a table of words and what
they mean, are shown as they stand.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

ALIGNED = re.compile(r"\S {2,}\S|^ {2,}", re.M)


def as_markdown(text: str) -> str:
    """A docstring as Markdown."""
    parts = re.split(r"\n\s*\n", text)
    return "\n\n".join(f"```text\n{part}\n```" if ALIGNED.search(part) else part for part in parts)


class Aligned(Extension):
    """Every docstring that griffe loads."""

    def on_instance(self, *, obj: Any, **rest: Any) -> None:
        """Change one object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
