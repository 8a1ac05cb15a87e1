"""Options of every verb that trains: one meaning wherever it is made."""

from __future__ import annotations

import argparse
from pathlib import Path


def seed(parser: argparse.ArgumentParser, of: str) -> None:
    """Add ``--seed``, which decides `of` what chance does."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=f"of {of} (default: 0)")


def out(parser: argparse.ArgumentParser, folder: str, resume: bool = True) -> None:
    """Add ``--out``, the folder of a run, and ``--resume`` where one can be taken up again."""
    parser.add_argument("--out", type=Path, default=Path(folder), metavar="FOLDER", help="default: %(default)s")
    if resume:
        parser.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
