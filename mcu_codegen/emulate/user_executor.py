"""The generated C of users and enrolment, executed: on this host, and on an emulated core.

The network is the switchable one, and begins with the channels of some user, which enrolment must not mind.
"""

from __future__ import annotations

import ctypes
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from ..emit.cortex_m.instruction_sets import SWITCHABLE
from ..emit.model import emit_model
from ..graph import Graph
from ..targets import Target
from ..users.blob import Status, blob_bytes, labels_of
from ..users.gates import Gates, groups, join
from . import host
from .build import RUNTIME, build, stubs
from .machine import Machine
from .toolchain import Toolchain

_UTTERANCES, _BLOBS, _ANSWERS = "utterances.bin", "blobs.bin", "answers.bin"
_LONGEST = 4096  # bytes of a blob

_MAIN = Template("""\
#include "kws_model.h"
#include "kws_model_user.h"
#include "semihosting.h"

int main(void);

static $input; /* the last utterance */
static $output;
static int8_t $logits;
static kws_model_enrolment enrolment;
static kws_model_user user;
static uint8_t blob[$longest];
static int32_t answers;

static void answer(const void *data, uint32_t bytes)
{
    if (semihosting_write(answers, data, bytes) != 0) {
        machine_stop(3);
    }
}

int main(void)
{
    const int32_t utterances = semihosting_open("$utterances", SEMIHOSTING_READ);
    const int32_t blobs = semihosting_open("$blobs", SEMIHOSTING_READ);
    uint32_t bytes;
    int32_t status;

    answers = semihosting_open("$answers", SEMIHOSTING_WRITE);
    kws_model_reset();
    kws_model_enrolment_begin(&enrolment);
    while (semihosting_read(utterances, input, sizeof input) == 0) {
        kws_model_enrol(input, $names);
        if (kws_model_enrolment_add(&enrolment, $names) != 0) {
            return 2;
        }
    }
    if (semihosting_read(blobs, &bytes, sizeof bytes) != 0 || bytes > sizeof blob ||
        semihosting_read(blobs, blob, bytes) != 0 || kws_model_user_load(&user, blob, bytes) != KWS_MODEL_USER_OK) {
        return 2;
    }
    if (kws_model_enrolment_finish(&enrolment, &user) != 0) {
        return 2;
    }
    bytes = kws_model_user_save(&user, blob);
    answer(&bytes, sizeof bytes);
    answer(blob, bytes);
    while (semihosting_read(blobs, &bytes, sizeof bytes) == 0) {
        if (bytes > sizeof blob || (bytes > 0u && semihosting_read(blobs, blob, bytes) != 0)) {
            return 2;
        }
        status = kws_model_user_load(&user, blob, bytes);
        answer(&status, sizeof status);
        answer(user.gates, sizeof user.gates);
        answer(user.words, sizeof user.words);
        kws_model_set_gates(user.gates);
        kws_model_invoke(input, output);
        answer(output, sizeof output);
    }
    return 0;
}
""")


@dataclass(frozen=True)
class Answers:
    """What the C made of utterances and blobs."""

    blob: bytes  # of the user that the utterances enrolled
    loaded: list[bytes]  # of each blob: status (int32), gates, words, and then the output for the last utterance


class HostUserExecutor:
    """On this host."""

    def __init__(self, model: Graph, enrolment: Graph, gates: Gates, *, sanitize: Sequence[str] = ()) -> None:
        """The network begins with `gates`. `sanitize` as in `host.build_shared_library`."""
        self.name = "host"
        self._enrolment, self._counts = enrolment, [group.count for group in groups(model)]
        self._bytes = -(-sum(self._counts) // 8) + -(-len(labels_of(model)) // 8)
        self._room = 2 * blob_bytes(model)  # more than a user takes
        self._output = model.tensors[model.main.outputs[-1]].bytes
        sources = _sources(model, enrolment, gates, "portable")
        self._library = ctypes.CDLL(str(host.build_shared_library(sources, sanitize=sanitize)))

    def run(self, features: np.ndarray, before: bytes, blobs: Sequence[bytes]) -> Answers:
        """Enrol from int8 features (K, *input shape) the user of the blob `before`, then load every one of `blobs`."""
        library, user = self._library, ctypes.create_string_buffer(self._room)
        enrolment = ctypes.create_string_buffer(4 + 4 * sum(self._counts))
        logits = [ctypes.create_string_buffer(count) for count in self._counts]
        library.kws_model_reset()
        library.kws_model_enrolment_begin(enrolment)
        for utterance in features:
            library.kws_model_enrol(utterance.tobytes(), *logits)
            assert library.kws_model_enrolment_add(enrolment, *logits) == 0
        assert library.kws_model_user_load(user, before, len(before)) == Status.OK
        assert library.kws_model_enrolment_finish(enrolment, user) == 0
        blob, output = ctypes.create_string_buffer(_LONGEST), ctypes.create_string_buffer(self._output)
        length = library.kws_model_user_save(user, blob)
        loaded = []
        for each in blobs:
            # a buffer of its very length, so that a sanitiser sees a byte too many
            status = library.kws_model_user_load(user, (ctypes.c_uint8 * len(each)).from_buffer_copy(each), len(each))
            library.kws_model_set_gates(user)
            library.kws_model_invoke(features[-1].tobytes(), output)
            loaded.append(struct.pack("<i", status) + user.raw[: self._bytes] + output.raw)
        return Answers(blob.raw[:length], loaded)


class CoreUserExecutor:
    """On an emulated core."""

    def __init__(
        self, model: Graph, enrolment: Graph, gates: Gates, target: Target, machine: Machine, toolchain: Toolchain
    ) -> None:
        """Builds; `machine` emulates `target`. The network begins with `gates`."""
        self.name = f"{target.name} {machine.name} {toolchain.name}"
        self._bytes = 4 + -(-sum(group.count for group in groups(model)) // 8) + -(-len(labels_of(model)) // 8)
        self._machine = machine
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        source, output = (model.tensors[index] for index in (model.main.inputs[0], model.main.outputs[-1]))
        self._bytes += output.bytes
        counts = [group.count for group in groups(model)]
        main = _MAIN.substitute(
            input=f"{source.dtype}_t input[{source.bytes}]",
            output=f"{output.dtype}_t output[{output.bytes}]",
            logits=", ".join(f"logits_{group}[{count}]" for group, count in enumerate(counts)),
            names=", ".join(f"logits_{group}" for group in range(len(counts))),
            longest=_LONGEST,
            utterances=_UTTERANCES,
            blobs=_BLOBS,
            answers=_ANSWERS,
        )
        sources = {**_sources(model, enrolment, gates, target.instruction_set), "main.c": main, **stubs(*RUNTIME)}
        self._program = build(Path(self._folder.name), sources, target, toolchain)

    def run(self, features: np.ndarray, before: bytes, blobs: Sequence[bytes]) -> Answers:
        """Enrol from int8 features (K, *input shape) the user of the blob `before`, then load every one of `blobs`.

        Raises MachineError.
        """
        folder = Path(self._folder.name)
        (folder / _UTTERANCES).write_bytes(features.tobytes())
        (folder / _BLOBS).write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in (before, *blobs)))
        self._machine.run(self._program, folder)
        content = (folder / _ANSWERS).read_bytes()
        start = 4 + int.from_bytes(content[:4], "little")
        rest = content[start:]
        return Answers(content[4:start], [rest[at : at + self._bytes] for at in range(0, len(rest), self._bytes)])


def _sources(model: Graph, enrolment: Graph, gates: Gates, instruction_set: str) -> dict[str, str]:
    renderer = SWITCHABLE[instruction_set]("speed", model, enrolment, gates)
    network = emit_model(join(model, enrolment), renderer=renderer)
    del network["kws_model_selftest.c"]
    return network
