"""The generated C of learning, executed: on this host, and on an emulated core.

One stream of bytes goes in and one comes out, both described at `exercise` in the C below. Numbers are little endian.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template

from ..emit.cortex_m.instruction_sets import RENDERERS
from ..emit.cortex_m.switchable import SWITCHABLE
from ..emit.learning import emit_learning
from ..emit.model import emit_model
from ..emit.portable.renderer import Renderer
from ..emit.user import emit_user
from ..graph import Graph
from ..targets import Target
from ..users.gates import Gates
from . import host
from .build import RUNTIME, build, stubs
from .machine import Machine
from .toolchain import Toolchain

_GIVEN, _ANSWERS = "given.bin", "answers.bin"

_EXERCISE = Template("""\
#include "kws_model.h"
#include "kws_model_user.h"
#include "kws_model_learning.h"

$platform

static $input;
static $output;
static kws_model_buffer buffer;
static kws_model_learner learner;
static kws_model_user before, user;
static uint8_t blob[KWS_MODEL_USER_BLOB_BYTES + 256];

static uint32_t number(void)
{
    uint32_t value = 0;

    take(&value, sizeof value);
    return value;
}

static void tell(int32_t value)
{
    give(&value, sizeof value);
}

/* A user as a blob, and what the network says with it: its length, it, the exit, the scores. */
static void show(const kws_model_user *shown)
{
    const uint32_t bytes = kws_model_user_save(shown, blob);

    tell((int32_t)bytes);
    give(blob, bytes);
    kws_model_user_apply(shown);
    tell(kws_model_invoke(input, output));
    give(output, sizeof output);
}

static void show_step(int32_t status)
{
    tell(status);
    give(user.weights, sizeof user.weights);
    give(user.biases, sizeof user.biases);
}

/* How many utterances are heard, then each: a label, and the input. Answers: what hearing returns, and what is kept.
   How many buffers are learnt from, then each: which exits met the goal before, how many utterances were heard, how
   many are there, and each of those. Answers: the status and the heads before and after every step, then the user.
   How many blobs are loaded, then each: its length and its bytes. Answers: the status, and the user. */
static void exercise(void)
{
    kws_model_reset();
    kws_model_buffer_reset(&buffer);
    kws_model_user_reset(&before);
    for (uint32_t left = number(); left > 0u; left--) {
        const kws_model_utterance *const kept = &buffer.utterances[buffer.heard % KWS_MODEL_BUFFER_UTTERANCES];
        const int32_t label = (int32_t)number();

        take(input, sizeof input);
        tell(kws_model_user_hear(&buffer, input, label));
        give(kept->features, sizeof kept->features);
        give(kept->scores, sizeof kept->scores);
        tell(kept->label);
        give(&kept->crc, sizeof kept->crc);
    }
    for (uint32_t left = number(); left > 0u; left--) {
        int32_t status;

        before.met = (uint8_t)number();
        before.learnt = 1;
        buffer.heard = number();
        buffer.learnt = 0;
        for (uint32_t place = 0, count = number(); place < count; place++) {
            kws_model_utterance *const utterance = &buffer.utterances[place];

            take(utterance->features, sizeof utterance->features);
            take(utterance->scores, sizeof utterance->scores);
            utterance->label = (int8_t)number();
            utterance->crc = number();
        }
        status = kws_model_learner_begin(&learner, &buffer, &before, &user);
        show_step(status);
        while (status == KWS_MODEL_LEARN_MORE) {
            status = kws_model_learner_step(&learner);
            show_step(status);
        }
        if (status == KWS_MODEL_LEARN_DONE) {
            show(&user);
            (void)kws_model_user_learn(&learner, &buffer, &before, &user);
            show(&user);
        }
    }
    for (uint32_t left = number(); left > 0u; left--) {
        const uint32_t bytes = number();

        take(blob, bytes);
        tell(kws_model_user_load(&user, blob, bytes));
        show(&user);
    }
}
""")

_ON_HOST = """\
static const uint8_t *given;
static uint8_t *answers;
static uint32_t answered;

static void take(void *to, uint32_t bytes)
{
    uint8_t *next = (uint8_t *)to;

    while (bytes-- > 0u) {
        *next++ = *given++;
    }
}

static void give(const void *from, uint32_t bytes)
{
    const uint8_t *next = (const uint8_t *)from;

    answered += bytes;
    while (bytes-- > 0u) {
        *answers++ = *next++;
    }
}
"""

_HOST_RUN = """
uint32_t run(const uint8_t *from, uint8_t *to);

uint32_t run(const uint8_t *from, uint8_t *to)
{
    given = from;
    answers = to;
    answered = 0;
    exercise();
    return answered;
}
"""

_ON_CORE = f"""\
#include "semihosting.h"

int main(void);

static int32_t given, answers;

static void take(void *to, uint32_t bytes)
{{
    if (bytes > 0u && semihosting_read(given, to, bytes) != 0) {{
        machine_stop(2);
    }}
}}

static void give(const void *from, uint32_t bytes)
{{
    if (semihosting_write(answers, from, bytes) != 0) {{
        machine_stop(3);
    }}
}}
#define ANSWERS "{_ANSWERS}"
#define GIVEN "{_GIVEN}"
"""

_CORE_RUN = """
int main(void)
{
    given = semihosting_open(GIVEN, SEMIHOSTING_READ);
    answers = semihosting_open(ANSWERS, SEMIHOSTING_WRITE);
    exercise();
    return 0;
}
"""


class HostLearningExecutor:
    """On this host."""

    def __init__(self, model: Graph, gates: Gates | None = None, *, sanitize: Sequence[str] = ()) -> None:
        """`gates` as in `sources_of`, `sanitize` as in `host.build_shared_library`. Raises InputError where the exits
        cannot be learnt."""
        self.name = "host, learning"
        sources = sources_of(model, "portable", gates) | {"main.c": _exercise(model, _ON_HOST) + _HOST_RUN}
        self._library = ctypes.CDLL(str(host.build_shared_library(sources, sanitize=sanitize)))

    def run(self, given: bytes, room: int) -> bytes:
        """The answers to `given`, which have `room` bytes at most."""
        answers = ctypes.create_string_buffer(room)
        length = self._library.run(given, answers)
        return answers.raw[:length]


class CoreLearningExecutor:
    """On an emulated core."""

    def __init__(
        self, model: Graph, target: Target, machine: Machine, toolchain: Toolchain, gates: Gates | None = None
    ) -> None:
        """Builds; `machine` emulates `target`, `gates` as in `sources_of`. Raises InputError where the exits cannot be
        learnt."""
        self.name = f"{target.name} {machine.name} {toolchain.name}, learning"
        self._machine = machine
        self._folder = tempfile.TemporaryDirectory(prefix="kws-mcu-")
        sources = sources_of(model, target.instruction_set, gates)
        sources |= {"main.c": _exercise(model, _ON_CORE) + _CORE_RUN, **stubs(*RUNTIME)}
        self._program = build(Path(self._folder.name), sources, target, toolchain)

    def run(self, given: bytes, _room: int = 0) -> bytes:
        """The answers to `given`. Raises MachineError."""
        folder = Path(self._folder.name)
        (folder / _GIVEN).write_bytes(given)
        self._machine.run(self._program, folder)
        return (folder / _ANSWERS).read_bytes()

    def count(self, given: bytes, function: str) -> int:
        """Instructions of the first call of a C function. Raises MachineError where its machine cannot count."""
        folder = Path(self._folder.name)
        (folder / _GIVEN).write_bytes(given)
        first, *_ = self._machine.count(self._program, folder, function)
        return sum(first.instructions)


def sources_of(model: Graph, instruction_set: str, gates: Gates | None = None) -> dict[str, str]:
    """The network, its users and their learning; with `gates` a switchable network, where those are open at
    first."""
    renderer: Renderer = RENDERERS[instruction_set]()
    if gates is not None:
        renderer = SWITCHABLE[instruction_set]("speed", model, None, gates)
    network = emit_model(model, renderer=renderer)
    del network["kws_model_selftest.c"]
    return network | emit_user(model, None, gates=gates) | emit_learning(model)


def _exercise(model: Graph, platform: str) -> str:
    source, output = (model.tensors[index] for index in (model.main.inputs[0], model.main.outputs[-1]))
    return _EXERCISE.substitute(
        platform=platform,
        input=f"{source.dtype}_t input[{source.bytes}]",
        output=f"{output.dtype}_t output[{output.bytes}]",
    )
