"""The generated C of learning, executed: on this host, and on an emulated core.

What goes in and out is described at `exercise` in the C below.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from ..emit.cortex_m.instruction_sets import RENDERERS, SWITCHABLE
from ..emit.learning import emit_learning
from ..emit.model import emit_model
from ..emit.portable.renderer import Renderer
from ..emit.user import emit_user
from ..graph import Graph
from ..targets import Target
from ..users.gates import Gates
from .dialogue import CoreDialogue, HostDialogue
from .machine import Machine
from .toolchain import Toolchain

_EXERCISE = Template("""\
#include "kws_model.h"
#include "kws_model_user.h"
#include "kws_model_learning.h"

static $input;
static $output;
static kws_model_buffer buffer;
static kws_model_learner learner;
static kws_model_user before, user;
static uint8_t blob[KWS_MODEL_USER_BLOB_BYTES + 256];

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


class HostLearningExecutor(HostDialogue):
    """On this host."""

    def __init__(self, model: Graph, gates: Gates | None = None, *, sanitize: Sequence[str] = ()) -> None:
        """`gates` as in `sources_of`. Raises InputError where the exits cannot be learnt."""
        self.name = "host, learning"
        super().__init__(sources_of(model, "portable", gates), _exercise(model), sanitize=sanitize)


class CoreLearningExecutor(CoreDialogue):
    """On an emulated core."""

    def __init__(
        self, model: Graph, target: Target, machine: Machine, toolchain: Toolchain, gates: Gates | None = None
    ) -> None:
        """`gates` as in `sources_of`. Raises InputError where the exits cannot be learnt."""
        self.name = f"{target.name} {machine.name} {toolchain.name}, learning"
        sources = sources_of(model, target.instruction_set, gates)
        super().__init__(sources, _exercise(model), target, machine, toolchain)


def sources_of(model: Graph, instruction_set: str, gates: Gates | None = None) -> dict[str, str]:
    """The network, its users and their learning; with `gates` a switchable network, where those are open at
    first."""
    renderer: Renderer = RENDERERS[instruction_set]()
    if gates is not None:
        renderer = SWITCHABLE[instruction_set]("speed", model, None, gates)
    network = emit_model(model, renderer=renderer)
    del network["kws_model_selftest.c"]
    return network | emit_user(model, None, gates=gates) | emit_learning(model)


def _exercise(model: Graph) -> str:
    source, output = (model.tensors[index] for index in (model.main.inputs[0], model.main.outputs[-1]))
    return _EXERCISE.substitute(
        input=f"{source.dtype}_t input[{source.bytes}]",
        output=f"{output.dtype}_t output[{output.bytes}]",
    )
