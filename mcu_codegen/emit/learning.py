"""Learning of exits as C: a buffer of utterances, and a user learnt from it, as `users.learning` specifies it."""

from __future__ import annotations

from ..graph import Graph
from ..users.blob import labels_of
from ..users.learning import NO_LABEL, PARTS
from ..users.learning_constants import constants_of, heads_of
from .learner import LEARNER, STEPS
from .regression import regression
from .text import CRC32, Origin, personal_files
from .thresholds import thresholds
from .utterances import BUFFER, KEPT


def emit_learning(
    model: Graph, name: str = "kws_model", origin: Origin | None = None, arena: str = "static"
) -> dict[str, str]:
    """File name to text: `name`_learning.h and `name`_learning.c, which go with those of `emit_user`.

    `name` and `arena` are those of the network's C. Raises InputError where the exits cannot be learnt.
    """
    constants, heads, labels = constants_of(model), heads_of(model), labels_of(model)
    memory = arena == "caller"
    values = {
        "kept": KEPT,
        "steps": STEPS,
        "buffer": BUFFER,
        "learner": LEARNER,
        "core": regression(name, heads, constants.rates),
        "thresholds": thresholds(constants, name),
        "crc32": CRC32,
        "capacity": str(constants.capacity),
        "every": str(constants.every),
        "no_label": str(NO_LABEL),
        "fewest": str(constants.fewest),
        "epochs": str(constants.epochs),
        "parts": str(PARTS),
        "margin": str(constants.margin),
        "sure": str(constants.sure),
        "weights": str(max(head.weights.size for head in heads)),
        "features": str(max(head.weights.shape[1] for head in heads)),
        "parameter": "void *memory, " if memory else "",
        "argument": "memory, " if memory else "",
        "input": f"{model.tensors[model.main.inputs[0]].dtype}_t",
    }
    assert len(labels) == len(heads[0].weights)
    about = "Exits of the network that learn from a user."
    templates = {f"{name}_learning.h": (about, _HEADER), f"{name}_learning.c": (about, _SOURCE)}
    return personal_files(templates, [*values.items()], name, origin)


_HEADER = """
#include <stdint.h>

#include "name.h"
#include "name_user.h"

$kept$
$steps$
"""

_SOURCE = """\
#include "name_learning.h"

$crc32$
$core$
$buffer$
$learner$"""
