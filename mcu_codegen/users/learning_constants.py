"""What the metadata of a graph with exits say about learning them, checked.

Under "exits", "learning" is an object of these fields:

    {"epochs": 3, "rates": [[weight shifts by label, bias shifts by label] by early exit], "margin": 4, "sure": 90,
     "tolerance": 5, "prior": 25600, "points": [[[threshold by early exit], loss], ...], "alone": [loss by early exit],
     "capacity": 30, "fewest": 10, "bypass_utterances": 20, "every": 5}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .. import lower
from ..errors import InputError
from ..graph import Graph
from .exits import ALWAYS, NEVER, exits_of
from .regression import MOST_BIAS_SHIFT, MOST_WEIGHT_SHIFT, Head, Rates, check_head, head_of
from .thresholds import MOST_POINTS, MOST_PRIOR, MOST_UTTERANCES, PER_MILLE, Goal, Point, alone

MOST_EPOCHS = 255
MOST_EXITS = 8  # bits of a byte


@dataclass(frozen=True)
class Constants:
    """How exits are learnt; `learning`, `regression` and `thresholds` say what each number does."""

    epochs: int
    rates: tuple[Rates, ...]  # by early exit
    margin: int  # of an error, in 1/256, from which a label learns
    sure: int  # the score code from which the last exit teaches
    tolerance: int  # per mille of utterances
    prior: int  # its weight, in 1/UNIT of an utterance
    points: tuple[Point, ...]  # each cheaper than the one before
    alone: tuple[int, ...]  # what the prior loses where everything is answered by one early exit, in 1/UNIT
    capacity: int  # utterances of the buffer
    fewest: int  # utterances from which exits learn
    bypass_utterances: int  # utterances from which blocks may be bypassed
    every: int  # new utterances after which exits are to be learnt again

    @property
    def goal(self) -> Goal:
        return Goal(self.tolerance, self.prior)

    @property
    def bypasses(self) -> tuple[Point, ...]:
        """By early exit, that of answering everything by it."""
        return tuple(alone(exit, len(self.alone), loss) for exit, loss in enumerate(self.alone))

    def metadata(self) -> dict[str, Any]:
        """As the metadata hold it."""
        rates = [[list(each.weights), list(each.biases)] for each in self.rates]
        points = [[list(point.thresholds), point.loss] for point in self.points]
        changed = {"rates": rates, "points": points, "alone": list(self.alone)}
        return {field.name: getattr(self, field.name) for field in fields(self)} | changed


def heads_of(graph: Graph) -> tuple[Head, ...]:
    """The factory's heads of the early exits. Raises InputError where one cannot be learnt."""
    operators, layers = graph.main.operators, [layer for layer, _ in graph.layers()]
    writers = {operator.outputs[0]: position for position, operator in enumerate(operators)}
    heads = []
    for each in exits_of(graph):
        dense, softmax = (lower.lower(graph, operators[at], layers[at]) for at in (each.head, writers[each.scores]))
        assert isinstance(dense, lower.FullyConnected) and isinstance(softmax, lower.Softmax)
        head = head_of(dense, softmax)
        try:
            if len(operators[each.head].inputs) < 3 or operators[each.head].inputs[2] < 0:
                raise InputError("it has no bias, which learning needs")
            check_head(head)
        except InputError as error:
            raise InputError(f"exit '{each.name}': {layers[each.head]}: {error}") from None
        heads.append(head)
    if len(heads) > MOST_EXITS:
        raise InputError(f"model '{graph.name}': {len(heads)} early exits; up to {MOST_EXITS} can be learnt")
    return tuple(heads)


def constants_of(graph: Graph) -> Constants:
    """What `graph` says. Raises InputError where it says nothing, or what cannot be."""
    heads = heads_of(graph)
    if not heads:
        raise InputError(f"model '{graph.name}': it has no early exits, which learning needs")
    try:
        return _constants(graph.metadata["exits"].get("learning"), len(heads), len(heads[0].weights))
    except InputError as error:
        raise InputError(f"model '{graph.name}': exits: learning: {error}") from None


def _constants(found: object, exits: int, labels: int) -> Constants:
    names = [field.name for field in fields(Constants)]
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise InputError(f"found {found!r}; an object of {', '.join(names)} is accepted")
    capacity = integer("capacity", found["capacity"], 1, MOST_UTTERANCES)
    prior = integer("prior", found["prior"], 0, MOST_PRIOR)
    points = [listed("points", pair, 2) for pair in listed("points", found["points"], None)]
    if not 1 <= len(points) <= MOST_POINTS:
        raise InputError(f"points: found {len(points)}; 1 to {MOST_POINTS} are accepted")
    rates = []
    for pair in listed("rates", found["rates"], exits):
        weights, biases = (listed("rates", shifts, labels) for shifts in listed("rates", pair, 2))
        rates.append(
            Rates(
                tuple(integer("weight shift", shift, 0, MOST_WEIGHT_SHIFT) for shift in weights),
                tuple(integer("bias shift", shift, 0, MOST_BIAS_SHIFT) for shift in biases),
            )
        )
    return Constants(
        integer("epochs", found["epochs"], 1, MOST_EPOCHS),
        tuple(rates),
        integer("margin", found["margin"], 1, 255),
        integer("sure", found["sure"], -128, 127),
        integer("tolerance", found["tolerance"], 0, PER_MILLE),
        prior,
        tuple(
            Point(
                tuple(integer("threshold", code, ALWAYS, NEVER) for code in listed("points", codes, exits)),
                integer("loss of a point", loss, -prior, prior),
            )
            for codes, loss in points
        ),
        tuple(integer("alone", loss, -prior, prior) for loss in listed("alone", found["alone"], exits)),
        capacity,
        integer("fewest", found["fewest"], 1, capacity),
        integer("bypass_utterances", found["bypass_utterances"], 1, MOST_UTTERANCES),
        integer("every", found["every"], 1, MOST_UTTERANCES),
    )


def listed(name: str, found: object, length: int | None) -> list[Any]:
    """A list in metadata, of that length where there is one. Raises InputError."""
    if not isinstance(found, list) or length not in (None, len(found)):
        raise InputError(f"{name}: found {found!r}; a list{'' if length is None else f' of {length}'} is accepted")
    return found


def integer(name: str, found: object, low: int, high: int) -> int:
    """A number in metadata, from `low` to `high`. Raises InputError."""
    if type(found) is not int or not low <= found <= high:
        raise InputError(f"{name}: found {found!r}; {low} to {high} is accepted")
    return found
