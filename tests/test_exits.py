"""Early exits: what the metadata may say, and which exit answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gated_models import features, gated_model

from mcu_codegen.errors import InputError
from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph, Quantization
from mcu_codegen.users.exits import NEVER, answers, exits_of, stopped


def test_exits_are_found_by_depth() -> None:
    graph, _ = gated_model(exits=True)
    first, second = exits_of(graph)
    assert (first.scores, second.scores) == graph.main.outputs[:2]
    for each in (first, second):
        assert graph.main.operators[each.head].kind == "FULLY_CONNECTED"
        assert graph.main.operators[each.head].inputs[0] == each.features
    assert [first.threshold, second.threshold] == graph.metadata["exits"]["thresholds"]
    del graph.metadata["exits"]
    assert exits_of(graph) == ()


def test_the_first_sure_exit_answers() -> None:
    scores = np.array([[[1, 5], [2, 3], [0, 127]], [[9, 9], [3, -4], [-128, -128]]], np.int8)
    assert stopped(scores, [5, 3]).tolist() == [0, 1, 0]
    assert stopped(scores, [NEVER, NEVER]).tolist() == [2, 2, 2]
    assert stopped(scores, [-128, NEVER]).tolist() == [0, 0, 0]
    assert stopped(scores, np.array([[6, 3, 128], [9, 0, -128]])).tolist() == [1, 0, 1]
    assert stopped(scores[:0], []).tolist() == [0, 0, 0]


def test_answers_are_the_scores_of_the_exit() -> None:
    graph, _ = gated_model(exits=True)
    values = NumpyExecutor(graph).run([features(graph, 20)])
    exits, scores = answers(graph, values)
    assert set(exits) == {0, 1, 2}
    for sample, chosen in enumerate(exits):
        assert np.array_equal(scores[sample], values[graph.main.outputs[chosen]][sample, 0])
    plain, _ = gated_model()
    values = NumpyExecutor(plain).run([features(plain, 2)])
    assert np.array_equal(answers(plain, values)[1], values[plain.main.outputs[0]][:, 0])


def _thresholds(*values: object) -> Any:
    return lambda graph: graph.metadata["exits"].update(thresholds=list(values))


def _tensor(number: int, **changed: object) -> Any:
    return lambda graph: vars(graph.tensors[graph.main.outputs[number]]).update(changed)


def _later_first(graph: Graph) -> None:
    """The layer behind the first exit moves before its head."""
    operators, (first, _) = graph.main.operators, exits_of(graph)
    operators.insert(first.head, operators.pop(first.head + 2))


def _no_softmax(graph: Graph) -> None:
    first, _ = exits_of(graph)
    graph.main.outputs = (graph.main.operators[first.head].outputs[0], *graph.main.outputs[1:])


def _no_matrix(graph: Graph) -> None:
    first, _ = exits_of(graph)
    operators = graph.main.operators
    operators[first.head + 1] = type(operators[0])("SOFTMAX", (first.features,), (first.scores,), None)
    del operators[first.head]


def _state(graph: Graph) -> None:
    graph.tensors[-1].persistent = True


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_thresholds(1), r"found thresholds \[1\] for 3 outputs; one an output but the last"),
        (_thresholds(1, 129), "threshold 129; accepted are integers from -128 to 128"),
        (_thresholds(-129, 1), "threshold -129"),
        (_thresholds(1, True), "threshold True"),
        (_thresholds(1, 1.5), "threshold 1.5"),
        (lambda graph: graph.metadata.update(exits=[1, 2]), "found thresholds None"),
        (_tensor(0, shape=(1, 5)), r"\(1, 5\) with scale .* accepted are int8 \(1, 6\)"),
        (_tensor(2, shape=(6,)), r"shape \(6,\); \(1, labels\) is accepted"),
        (_tensor(1, quantization=Quantization((1 / 128,), (-128,))), "with scale 0.0078125 and zero point -128"),
        (_later_first, "01_depthwise_conv_2d|02_depthwise_conv_2d is out of order"),
        (_no_softmax, "is written by FULLY_CONNECTED; SOFTMAX is accepted"),
        (_no_matrix, "is written by MEAN; FULLY_CONNECTED is accepted"),
        (_state, "persistent tensors"),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Any, message: str) -> None:
    graph, _ = gated_model(exits=True)
    spoil(graph)
    with pytest.raises(InputError, match=message) as caught:
        exits_of(graph)
    assert str(caught.value).startswith("model 'model': exits: ") and "\n" not in str(caught.value)
