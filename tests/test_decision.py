"""The decision: what it decides, Python against C, and what it refuses."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mcu_codegen.emit.decision import emit_decision
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.errors import InputError
from mcu_codegen.listen.decision import Decision, Detection, Detector

LABELS = ["_silence_", "_unknown_", "yes", "no", "نعم"]
YES, NO = 2, 3
DECISIONS = [
    Decision(),
    Decision(stride_hops=1, smoothing=1, threshold=1, refractory_hops=1),
    Decision(stride_hops=7, smoothing=4, threshold=90, refractory_hops=100),
    Decision(stride_hops=3, smoothing=64, threshold=66, refractory_hops=65535),
]
COMPILERS = [
    pytest.param((shutil.which("gcc") or "",), id="gcc"),
    pytest.param((sys.executable, "-m", "ziglang", "cc"), id="clang"),
]


def scores(label: int, height: int = 255) -> np.ndarray:
    """int8[labels]: `height` / 256 for one label and nothing for the others."""
    result = np.full(len(LABELS), -128, np.int8)
    result[label] = height - 128
    return result


def hear(detector: Detector, *inferences: np.ndarray) -> list[Detection | None]:
    found = []
    for each in inferences:
        while not detector.hop():
            pass
        found.append(detector.step(each))
    return found


def test_stride() -> None:
    detector = Detector(Decision(stride_hops=10), LABELS)
    assert [hop for hop in range(1, 41) if detector.hop()] == [10, 20, 30, 40]
    detector.reset()
    assert [hop for hop in range(1, 21) if detector.hop()] == [10, 20]


def test_smoothing_and_threshold() -> None:
    """Inferences before the first count as zero; the average has to reach the threshold."""
    detector = Detector(Decision(stride_hops=10, smoothing=3, threshold=160), LABELS)
    assert hear(detector, scores(YES), scores(YES, 224)) == [None, None]  # 479 / 3
    detector.reset()
    assert hear(detector, scores(YES), scores(YES, 225)) == [None, Detection(YES, 20, False)]  # 480 / 3
    assert hear(detector, *[scores(1)] * 3) == [Detection(YES, 30, True), None, None]  # the oldest leaves in order


def test_only_keywords_are_detected_and_only_where_they_win() -> None:
    detector = Detector(Decision(smoothing=1, threshold=50), LABELS)
    tie = np.maximum(scores(YES, 100), scores(NO, 100))
    assert hear(detector, scores(0), scores(1), np.maximum(scores(1, 120), scores(YES, 110))) == [None] * 3
    assert hear(detector, np.maximum(tie, scores(1, 100))) == [None]  # the first of equals
    assert hear(detector, tie) == [Detection(YES, 50, False)]


def test_refractory_time() -> None:
    """Counted from the last detection that was not suppressed itself; it holds for every keyword."""
    detector = Detector(Decision(stride_hops=10, smoothing=1, threshold=100, refractory_hops=30), LABELS)
    found = hear(detector, scores(YES), scores(YES), scores(NO), scores(YES), scores(0), scores(NO))
    assert found == [
        Detection(YES, 10, False),
        Detection(YES, 20, True),
        Detection(NO, 30, True),
        Detection(YES, 40, False),
        None,
        Detection(NO, 60, True),
    ]
    detector.reset()
    assert hear(detector, scores(NO)) == [Detection(NO, 10, False)]


class CDetection(ctypes.Structure):
    _fields_ = (("hop", ctypes.c_uint32), ("label", ctypes.c_uint32))


@pytest.mark.parametrize("decision", DECISIONS, ids=str)
def test_python_equals_c(decision: Decision) -> None:
    """On random scores in which a label stays high for a while, over two resets."""
    library = ctypes.CDLL(str(build_shared_library(emit_decision(decision, LABELS))))
    library.kws_decision_label.restype = ctypes.c_char_p
    assert [library.kws_decision_label(label).decode() for label in range(len(LABELS))] == LABELS
    random = np.random.default_rng(3)
    detector = Detector(decision, LABELS)
    events: dict[int, int] = {0: 0, 1: 0, 2: 0}
    for _ in range(2):
        library.kws_decision_reset()
        detector.reset()
        high = 0
        for _ in range(6000):
            due = library.kws_decision_hop()
            assert due == detector.hop()
            if not due:
                continue
            if random.random() < 0.02:
                high = int(random.integers(len(LABELS)))
            drawn = random.integers(-128, 20, len(LABELS)).astype(np.int8)
            drawn[high] = random.integers(0, 128)
            found, detection = detector.step(drawn), CDetection()
            event = library.kws_decision_step(ctypes.c_void_p(drawn.ctypes.data), ctypes.byref(detection))
            events[event] += 1
            if found is None:
                assert event == 0
            else:
                assert (event, detection.label, detection.hop) == (1 + found.suppressed, found.label, found.hop)
    assert events[1] > 0 and (events[2] > 0 or decision.refractory_hops == 1)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("decision", DECISIONS, ids=str)
def test_selftest(decision: Decision, compiler: tuple[str, ...]) -> None:
    """Under the sanitiser, in its own process, for it ends the process; a wrong threshold fails."""
    if not compiler[0]:
        pytest.skip("gcc is absent")
    if "ziglang" in compiler:
        pytest.importorskip("ziglang")
    sources = emit_decision(decision, LABELS, "ears")
    line = f"#define EARS_THRESHOLD {decision.threshold} "
    wrong = {name: text.replace(line, "#define EARS_THRESHOLD 250 ") for name, text in sources.items()}
    results = []
    for each in (sources, wrong):
        library = build_shared_library(each, sanitize=["undefined"], command=compiler)
        script = f"import ctypes; print(ctypes.CDLL({str(library)!r}).ears_selftest())"
        results.append(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout)
    assert results == ["0\n", "1\n"]


def test_dictionary() -> None:
    for decision in DECISIONS:
        assert Decision.from_dict(decision.to_dict()) == decision


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stride_hops": 0}, "stride_hops is 0; accepted is an integer from 1 to 1000"),
        ({"smoothing": 65}, "smoothing is 65"),
        ({"threshold": 0.5}, "threshold is 0.5"),
        ({"threshold": True}, "threshold is True"),
        ({"refractory_hops": "50"}, "refractory_hops is '50'"),
        ({"hops": 1}, "accepted are exactly stride_hops, smoothing, threshold, refractory_hops"),
    ],
)
def test_refused_fields(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Decision.from_dict({**Decision().to_dict(), **values})


@pytest.mark.parametrize("values", [None, 5, [], {}])
def test_refused_dictionaries(values: object) -> None:
    with pytest.raises(InputError, match="accepted are exactly"):
        Decision.from_dict(values)


@pytest.mark.parametrize("labels", [[], ["yes"], ["yes", ""], ["yes", 3], ["word"] * 128])
def test_refused_labels(labels: list) -> None:
    with pytest.raises(InputError, match="accepted are 2 to 127 names"):
        Detector(Decision(), labels)
