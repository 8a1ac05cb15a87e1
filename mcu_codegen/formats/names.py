"""Names as files spell them, fit for one-line errors, comments and C."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """`text`, escaped where it has control characters: names go into one-line errors and into C comments."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def identifier(text: str) -> str:
    """`text` as a C identifier."""
    cleaned = re.sub(r"\W", "_", text, flags=re.ASCII)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"model_{cleaned}"
