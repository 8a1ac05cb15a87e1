"""The options by which a verb takes a network as a step: one meaning wherever they stand."""

from __future__ import annotations

import argparse

from ..errors import InputError
from ..graph import Graph
from ..listen.step import step_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--streaming",
        action=argparse.BooleanOptionalAction,
        help="a step instead of the whole network: new frames in, the scores of the last window out (default: where the"
        " model says that it was trained for it)",
    )
    parser.add_argument(
        "--rows-per-step",
        type=int,
        metavar="N",
        help="new frames of a step: more cost less each, fewer answer sooner (default: as few as the network's strides"
        " allow)",
    )


def chosen(options: argparse.Namespace, graph: Graph) -> bool:
    """Whether the options, or `graph` where they say nothing, ask for a step. Raises InputError where they disagree."""
    streaming = bool(graph.metadata.get("streaming")) if options.streaming is None else options.streaming
    if options.rows_per_step is not None and not streaming:
        raise InputError(f"--rows-per-step {options.rows_per_step}: accepted with --streaming")
    refused = [name for name in ("switchable", "enrol", "learn") if getattr(options, name, None)] if streaming else []
    if refused:
        raise InputError(f"--{refused[0]}: accepted with --no-streaming; a step has channels that are fixed")
    return streaming


def heard(options: argparse.Namespace, graph: Graph) -> Graph:
    """`graph`, or its step where one is `chosen`."""
    return step_of(graph, options.rows_per_step) if chosen(options, graph) else graph
