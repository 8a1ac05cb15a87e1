"""The generated C of words that are taught, executed: on this host, and on an emulated core.

What goes in and out is described at `exercise` in the C below.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from ..emit.cortex_m.instruction_sets import RENDERERS, SWITCHABLE
from ..emit.model import emit_model
from ..emit.portable.renderer import Renderer
from ..emit.teaching import emit_teaching, with_last_layer
from ..emit.user import emit_user
from ..graph import Graph
from ..targets import Target
from ..users.gates import Gates
from .dialogue import CoreDialogue, HostDialogue
from .machine import Machine
from .toolchain import Toolchain

_EXERCISE = Template("""\
#include "kws_model_teaching.h"

static $input;
static int8_t scores[KWS_MODEL_TEACHING_SCORES];
static uint8_t may[(KWS_MODEL_TEACHING_SCORES + 7) / 8];
static kws_model_clips clips;
static kws_model_user user;
static uint8_t blob[KWS_MODEL_USER_BLOB_BYTES + 256];

/* A user as a blob, and what the network says with her words: its length, it, the labels that may be decided, the
   scores. */
static void show(void)
{
    const uint32_t bytes = kws_model_user_save(&user, blob);

    tell((int32_t)bytes);
    give(blob, bytes);
    kws_model_user_allowed(&user, may);
    give(may, sizeof may);
    kws_model_user_invoke(&user, input, scores);
    give(scores, sizeof scores);
}

static void learn(void)
{
    const int32_t status = kws_model_user_learn_word(&clips, &user);

    tell(status);
    if (status == KWS_MODEL_TEACH_DONE) {
        show();
    }
}

/* How many words are taught, then each: how many clips are heard, then those. Answers: what hearing returns, and what
   is kept; the status of learning, and the user if she has learnt. The same of words whose clips are given as what is
   kept of them: how many, and it. How many blobs are loaded, then each: its length and its bytes. Answers: the status,
   and the user. */
static void exercise(void)
{
    kws_model_reset();
    kws_model_user_reset(&user);
    for (uint32_t words = number(); words > 0u; words--) {
        clips.count = 0;
        for (uint32_t left = number(); left > 0u; left--) {
            const int32_t before = clips.count;

            take(input, sizeof input);
            tell(kws_model_user_hear_word(&clips, input));
            if (clips.count > before) {
                give(clips.sums, sizeof clips.sums);
            }
        }
        learn();
    }
    kws_model_user_reset(&user);
    for (uint32_t words = number(); words > 0u; words--) {
        clips.count = (int32_t)number();
        take(clips.sums, sizeof clips.sums);
        learn();
    }
    for (uint32_t left = number(); left > 0u; left--) {
        const uint32_t bytes = number();

        take(blob, bytes);
        tell(kws_model_user_load(&user, blob, bytes));
        show();
    }
}
""")


class HostTeachingExecutor(HostDialogue):
    """On this host."""

    def __init__(self, model: Graph, gates: Gates | None = None, *, sanitize: Sequence[str] = ()) -> None:
        """`gates` as in `sources_of`. Raises InputError where `model` can be taught no words."""
        self.name = "host, teaching"
        super().__init__(sources_of(model, "portable", gates), _exercise(model), sanitize=sanitize)


class CoreTeachingExecutor(CoreDialogue):
    """On an emulated core."""

    def __init__(
        self, model: Graph, target: Target, machine: Machine, toolchain: Toolchain, gates: Gates | None = None
    ) -> None:
        """`gates` as in `sources_of`. Raises InputError where `model` can be taught no words."""
        self.name = f"{target.name} {machine.name} {toolchain.name}, teaching"
        sources = sources_of(model, target.instruction_set, gates)
        super().__init__(sources, _exercise(model), target, machine, toolchain)


def sources_of(model: Graph, instruction_set: str, gates: Gates | None = None) -> dict[str, str]:
    """The network, its users and their words; with `gates` a switchable network, where those are open at first."""
    renderer: Renderer = RENDERERS[instruction_set]()
    if gates is not None:
        renderer = SWITCHABLE[instruction_set]("speed", model, None, gates)
    network = emit_model(with_last_layer(model), renderer=renderer)
    del network["kws_model_selftest.c"]
    return network | emit_user(model, None, gates=gates) | emit_teaching(model)


def _exercise(model: Graph) -> str:
    source = model.tensors[model.main.inputs[0]]
    return _EXERCISE.substitute(input=f"{source.dtype}_t input[{source.bytes}]")
