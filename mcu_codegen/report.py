"""What a person reads: tables as text, and one self-contained HTML page of tables, pictures and paragraphs."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header. Numbers are shown with thousands separators and set to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def text(self) -> str:
        """The table in monospaced text, two spaces between columns."""
        lines = [list(self.header)] + [[_cell(value) for value in row] for row in self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        right = [all(_numeric(row[column]) for row in self.rows) for column in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            parts = (
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(cells, widths, right, strict=True)
            )
            return "  ".join(parts).rstrip()

        return "\n".join([line(lines[0]), "  ".join("-" * width for width in widths), *map(line, lines[1:])])

    def html(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>"
            + "".join(f"<td{' class=n' if _numeric(value) else ''}>{html.escape(_cell(value))}</td>" for value in row)
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class Picture:
    """A PNG file with a caption; the page carries its bytes."""

    path: Path
    caption: str

    def html(self) -> str:
        data = base64.b64encode(self.path.read_bytes()).decode()
        caption = html.escape(self.caption)
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


@dataclass(frozen=True)
class Paragraph:
    text: str

    def html(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Section:
    title: str
    parts: Sequence[Table | Picture | Paragraph]

    def html(self) -> str:
        return f"<section><h2>{html.escape(self.title)}</h2>{''.join(part.html() for part in self.parts)}</section>"


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f23;background:#fff}
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d8dee4}
table{border-collapse:collapse;font-size:.92rem;margin:1rem 0}
th,td{padding:.25rem .8rem;border-bottom:1px solid #e6e9ec;text-align:left}
th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}img{max-width:100%}figcaption{font-size:.85rem;color:#57606a}
"""


def page(title: str, subtitle: str, sections: Iterable[Section]) -> str:
    """One HTML file that needs nothing beside it."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><p>{html.escape(subtitle)}</p>"
        + "".join(section.html() for section in sections)
        + "</html>\n"
    )


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if _numeric(value) else str(value)
