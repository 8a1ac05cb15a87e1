"""The options by which a verb ships a gated model: one meaning wherever C is made."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..emit.cortex_m.instruction_sets import SWITCHABLE
from ..emit.portable.renderer import Renderer
from ..errors import InputError
from ..graph import Graph
from ..targets import Target
from ..users.bake import bake
from ..users.blob import user_groups
from ..users.gates import join
from ..users.learnt import with_exits
from ..users.new_words import with_words
from ..users.user import User
from . import render_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--user",
        metavar="FILE.user",
        help="ship the network of this user: channels, words, early exits and words that she has taught; with"
        " --switchable, only begin with her channels and words",
    )
    parser.add_argument(
        "--switchable", action="store_true", help="let users of a gated model be switched while the firmware runs"
    )


def shipped(
    options: argparse.Namespace, graph: Graph, target: Target | None, enrolment: Graph | None = None
) -> tuple[Graph, Renderer]:
    """What the options make of `graph`, with the entry ``enrol`` where there is `enrolment`, and the renderer for it.

    Raises InputError where the options or the files do not go together.
    """
    user = None if options.user is None else User.load(options.user, graph)
    gates = None if user is None else user.gates(user_groups(graph))
    if options.switchable:
        if options.weights not in (None, "int8"):
            raise InputError(f"--weights {options.weights}: accepted without --switchable")
        instruction_set = target.instruction_set if target else "portable"
        renderer: Renderer = SWITCHABLE[instruction_set](options.optimize, graph, enrolment, gates)
        if user is not None and user.words is not None:
            graph = replace(graph, metadata=graph.metadata | {"words": list(user.words)})
    else:
        renderer = render_options.renderer(options, target)
        if user is not None and gates is not None:
            if enrolment is not None:
                raise InputError("--enrol: accepted with --user and --switchable; what is cut to a user cannot enrol")
            graph = own(graph, user)
    return graph if enrolment is None else join(graph, enrolment), renderer


def own(graph: Graph, user: User) -> Graph:
    """The network of `user`, an ordinary graph, for users' words too."""
    gates, words = user.gates(user_groups(graph)), user.words
    if user.learnt is not None:
        graph = with_exits(graph, user.learnt)
    if user.new_words:
        names = [each.name for each in user.new_words]
        graph = with_words(graph, [each.row for each in user.new_words], names)
        words = None if words is None else (*words, *names)
    if gates:
        return bake(graph, gates, words)
    return replace(graph, metadata=graph.metadata | ({} if words is None else {"words": list(words)}))
