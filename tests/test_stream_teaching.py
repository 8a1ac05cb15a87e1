"""The loop of a board that hears words which were taught on it, against an ordinary model that has them."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
from teaching_models import some_teaching
from test_stream import babble, small_pipeline

from mcu_codegen import cli
from mcu_codegen.emulate.build import stubs
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph, Quantization, Tensor
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.users.new_words import with_words
from mcu_codegen.users.teaching import Teaching, hear

_TAUGHT = """\
#include "kws_frontend.h"
#include "kws_model_teaching.h"
#include "stream.h"

int32_t run(const int8_t *inputs, int32_t clips, const int16_t *audio, int32_t hops, uint32_t *found);

/* A word by `clips` inputs, then a stream. Writes the hop and the label of each detection; returns how many, or -1. */
int32_t run(const int8_t *inputs, int32_t clips, const int16_t *audio, int32_t hops, uint32_t *found)
{
    static kws_model_clips heard;
    static kws_model_user user;
    kws_decision_detection detection;
    int32_t count = 0;

    for (int32_t clip = 0; clip < clips; clip++) {
        kws_model_user_hear_word(&heard, inputs + clip * KWS_MODEL_INPUT_BYTES);
    }
    kws_model_user_reset(&user);
    if (kws_model_user_learn_word(&heard, &user) != KWS_MODEL_TEACH_DONE) {
        return -1;
    }
    stream_reset();
    stream_listen_for(&user);
    for (int32_t hop = 0; hop < hops; hop++) {
        if (stream_push(audio + hop * KWS_FRONTEND_HOP, &detection) == KWS_DECISION_DETECTED) {
            found[2 * count] = detection.hop;
            found[2 * count + 1] = detection.label;
            count++;
        }
    }
    return count;
}
"""


def teachable(graph: Graph, codes: np.ndarray) -> Graph:
    """`graph` with a bias in its last layer, which a word needs, and what words are learnt by, of int8 `codes`."""
    operators, dense = list(graph.main.operators), 1
    weights = graph.tensors[operators[dense].inputs[1]]
    assert weights.quantization is not None
    scales = Quantization(tuple(0.4 * scale for scale in weights.quantization.scale), (0,) * weights.shape[0])
    bias = Tensor("bias", weights.shape[:1], "int32", scales, np.zeros(weights.shape[0], np.int32))
    operators[dense] = replace(operators[dense], inputs=(*operators[dense].inputs[:2], len(graph.tensors)))
    return replace(
        graph,
        tensors=[*graph.tensors, bias],
        entries=[replace(graph.main, operators=operators)],
        metadata=graph.metadata | {"teaching": some_teaching(codes).metadata()},
    )


def test_words_that_are_taught_are_heard(tmp_path: Path) -> None:
    pipeline, audio = small_pipeline(), babble(12.0)
    features = np.lib.stride_tricks.sliding_window_view(pipeline.run(audio).features, pipeline.context, axis=0)
    windows = np.ascontiguousarray(features[::23].transpose(0, 2, 1))[:, np.newaxis, ..., np.newaxis]
    codes, silent = hear(pipeline.graph, windows)
    graph = teachable(pipeline.graph, codes)
    clips = windows[~silent][:3]
    row = Teaching.of(graph).learn(hear(graph, clips)[0])
    expected = Pipeline.of(with_words(graph, [row], ["cup"])).run(audio).detections
    new = len(graph.metadata["labels"])
    assert {detection.label for detection in expected} > {new}, "the word and others are detected"

    model, out = tmp_path / "m.tflite", tmp_path / "c"
    model.write_bytes(tflite.write(graph))
    assert cli.main(["emit", str(model), "--learn-word", "-o", str(out)]) == 0
    sources = {path.name: path.read_text() for path in out.iterdir() if "selftest" not in path.name}
    library = build_shared_library({**sources, **stubs("generic/stream.c", "generic/stream.h"), "taught.c": _TAUGHT})
    run = ctypes.CDLL(str(library)).run
    run.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
    hops, found = len(audio) // pipeline.front_end.hop, np.zeros((1000, 2), np.uint32)
    count = run(clips.ctypes.data, len(clips), audio.ctypes.data, hops, found.ctypes.data)
    wanted = [(detection.hop, detection.label) for detection in expected if not detection.suppressed]
    assert [tuple(pair) for pair in found[:count].tolist()] == wanted
