"""The options of the loop around a network that listens: one meaning wherever it is made."""

from __future__ import annotations

import argparse

from ..errors import InputError
from ..graph import Graph
from ..listen.activity import MARGIN
from ..listen.pipeline import Pipeline


def configure(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add them."""
    parser.add_argument(
        "--skip-silence",
        type=float,
        nargs="?",
        const=MARGIN,
        metavar="DB",
        help="leave out inferences while nothing is so much louder than the floor of the noise (default where given:"
        f" {MARGIN:g} dB)",
    )


def pipeline(options: argparse.Namespace, graph: Graph) -> Pipeline | None:
    """What the metadata of `graph` and the options say; None where it names no front end.

    Raises InputError where they do not fit, or there is no front end for what an option asks.
    """
    if "front_end" not in graph.metadata:
        if options.skip_silence is not None:
            raise InputError("--skip-silence: accepted for a model whose metadata name front end, labels and decision")
        return None
    made = Pipeline.of(graph)
    return made if options.skip_silence is None else made.resting(options.skip_silence)
