"""The options by which a verb takes a network as a step: one meaning wherever they stand."""

from __future__ import annotations

import argparse

from ..errors import InputError
from ..graph import Graph
from ..users.exits import exits_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--streaming",
        action=argparse.BooleanOptionalAction,
        help="a step instead of the whole network: new frames in, the scores of the last window out (default: where the"
        " model says that it streams, without gates or exits)",
    )
    parser.add_argument(
        "--rows-per-step",
        type=int,
        metavar="N",
        help="new frames of a step: more cost less each, fewer answer sooner (default: as few as the network's strides"
        " allow)",
    )


def chosen(options: argparse.Namespace, graph: Graph) -> bool:
    """Whether the options ask for a step of `graph`, as its file has it; or, where they say nothing, whether it says
    that it streams. One with gates or exits is whole unless a step is asked for: a step has neither to switch or to
    learn. Raises InputError where options disagree."""
    names = ("switchable", "enrol", "learn", "learn_word")
    whole = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name, None)]
    streaming: bool | None = options.streaming
    if streaming is None:
        fixed = not whole and "gates" not in graph.metadata and not exits_of(graph)
        streaming = fixed and graph.metadata.get("streaming", False)
    if options.rows_per_step is not None and not streaming:
        raise InputError(f"--rows-per-step {options.rows_per_step}: accepted with --streaming")
    if streaming and whole:
        raise InputError(f"{whole[0]}: accepted without --streaming; a step has fixed channels and one entry")
    return streaming
