"""Where one user's inference stops: a threshold an exit, and which exit later blocks are never run after.

Both compare an exit with the whole network on the utterances of a buffer, with scores of heads that did not learn from
the utterance they score. The *loss* of leaving with one of them is

- without a label: 1 where the exit's best label is another than the network's, else 0 (agreement);
- with one: 1 where the network is right and the exit is not, -1 the other way round, else 0 (accuracy).

The best label is the first one of the highest score. A *prior* of training speakers is a few rows of code, weight and
loss, in 1/`UNIT` of an utterance: pseudo-utterances without which a buffer of ten would say too much.

The threshold of an exit is the lowest code t among those of buffer and prior at which leaving is good enough: the
losses of all that reach t or more, times 1000, do not exceed `tolerance` times the weight of everything; `NEVER`
where there is none. A code that nobody was heard with is no threshold, for nothing is known of it.

An exit *meets the goal* where leaving with every utterance of the buffer is good enough, without the prior. Bypass is a
state machine whose state is which exits did at the last estimate:

    bypass after an estimate = the first exit that meets the goal in this estimate and met it in the one before, if any.

So one estimate is never enough to begin, one that misses ends it, and nothing is forgotten by it: utterances for the
buffer always run the whole network. Below `bypass_utterances` no exit meets the goal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .exits import NEVER

UNIT = 256
PER_MILLE = 1000
MOST_UTTERANCES = 255
MOST_PRIOR = 1 << 20  # in 1/UNIT: a sum of losses times 1000, buffer included, is below 2^31


def losses(scores: np.ndarray, last: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int [N], -1..1: of leaving with `scores` int8 [N, labels], where the network says `last`.

    `labels` is int [N], below 0 where there is none.
    """
    chosen, final = scores.argmax(axis=1), last.argmax(axis=1)
    accuracy = (final == labels).astype(np.int64) - (chosen == labels)
    return np.where(labels < 0, chosen != final, accuracy)


def threshold(codes: np.ndarray, lost: np.ndarray, prior: Sequence[tuple[int, int, int]], tolerance: int) -> int:
    """Of an exit whose highest scores are `codes` int [N], with losses `lost`, -1..1.

    `prior` holds rows of code, weight and loss; `tolerance` is per mille.
    """
    table = np.array(prior, np.int64).reshape(-1, 3)
    every = np.concatenate([codes.astype(np.int64), table[:, 0]])
    weighted = np.concatenate([UNIT * lost.astype(np.int64), table[:, 2]])
    most = tolerance * (UNIT * len(codes) + int(table[:, 1].sum()))
    good = [int(code) for code in every if PER_MILLE * int(weighted[every >= code].sum()) <= most]
    return min(good, default=NEVER)


def meets_goal(lost: np.ndarray, tolerance: int, fewest: int) -> bool:
    """Whether an exit alone is good enough for utterances with losses `lost`."""
    return len(lost) >= fewest and PER_MILLE * int(lost.sum()) <= tolerance * len(lost)


def bypass(before: Sequence[bool], now: Sequence[bool]) -> int:
    """After which exit nothing is run; the number of exits where all is. `before` and `now`: which meet the goal."""
    both = [first and second for first, second in zip(before, now, strict=True)]
    return both.index(True) if True in both else len(both)
