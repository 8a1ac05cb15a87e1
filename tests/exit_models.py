"""Random models whose exits can be learnt."""

from __future__ import annotations

from dataclasses import replace

import exit_heads
import numpy as np
from gated_models import gated_model

from mcu_codegen.graph import Entry, FullyConnected, Graph, NoOptions, Operator, Quantization, Softmax, Tensor
from mcu_codegen.users.exits import exits_of
from mcu_codegen.users.learning_constants import Constants
from mcu_codegen.users.regression import Rates
from mcu_codegen.users.thresholds import Point


def exit_model(seed: int = 0, gates: bool = False, frames: int = 7, **changed: object) -> Graph:
    """Two early exits that learn, fast, by constants that some of `changed` replace."""
    graph, _ = gated_model(seed, frames=frames, exits=True)
    rng = np.random.default_rng([seed, 2])
    rates = tuple(
        Rates(tuple(rng.integers(2, 7, 6).tolist()), tuple(rng.integers(4, 12, 6).tolist())) for _ in exits_of(graph)
    )
    points = tuple(Point(*each) for each in (((60, 128), -30), ((20, 90), 10), ((-40, 30), 90), ((-128, 0), 300)))
    constants = replace(Constants(2, rates, 3, -20, 300, 800, points, (200, -100), 12, 4, 6, 3), **changed)  # type: ignore[arg-type]
    metadata = {key: value for key, value in graph.metadata.items() if gates or key != "gates"}
    metadata["exits"] = graph.metadata["exits"] | {"learning": constants.metadata()}
    return replace(graph, metadata=metadata)


def wide_model() -> Graph:
    """Three early exits of 56 features and 12 labels that know something of `exit_heads.speaker`, and no network."""
    pair, _ = exit_heads.population(0)
    heads = (*pair, pair[0])
    source = Quantization((exit_heads.FEATURE_SCALE,), (exit_heads.ZERO_POINT,))
    tensors = [Tensor(name, (1, exit_heads.FEATURES), "int8", source) for name in ("input", "features")]
    operators = [Operator("RELU", (0,), (1,), NoOptions())]
    scores = []
    for number, head in enumerate((*heads, pair[1])):
        labels, first = len(head.weights), len(tensors)
        zeros = (0,) * labels
        scales = [float(np.float32(each)) for each in exit_heads.weight_scales(head)]
        products = [float(np.float32(exit_heads.FEATURE_SCALE * each)) for each in scales]
        tensors += [
            Tensor(f"weights{number}", head.weights.shape, "int8", Quantization(tuple(scales), zeros), head.weights),
            Tensor(f"biases{number}", (labels,), "int32", Quantization(tuple(products), zeros), head.bias),
            Tensor(f"logits{number}", (1, labels), "int8", Quantization((exit_heads.LOGIT_SCALE,), (0,))),
            Tensor(f"scores{number}", (1, labels), "int8", Quantization((1 / 256,), (-128,))),
        ]
        operators += [
            Operator("FULLY_CONNECTED", (1, first, first + 1), (first + 2,), FullyConnected()),
            Operator("SOFTMAX", (first + 2,), (first + 3,), Softmax()),
        ]
        scores.append(first + 3)
    constants = exit_heads.constants(heads).metadata()
    labels = ["_silence_", "_unknown_", *(f"word{number}" for number in range(10))]
    metadata = {"labels": labels, "exits": {"thresholds": [60] * 3, "learning": constants}}
    return Graph("wide", tensors, [Entry("invoke", (0,), tuple(scores), operators)], metadata, "ab" * 32)
