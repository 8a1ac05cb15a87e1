"""Early exits as C: a network that stops at the first exit that is sure, as `users.exits` specifies it.

One static function computes the layers of the main entry, and stops unless it is asked for the inputs of the heads.
What a user may change, thresholds and heads, is read through a table in RAM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import lower
from ..users.exits import NEVER, Exit
from .constants import Pool
from .functions import Signature, function, layer_calls, pointer, result_copies, signature
from .kernel import Array, fill
from .plan import Plan

SELFTEST = """ It does not
   stop for that, whatever the thresholds; at which exit it stops is checked afterwards."""
"""What the header adds about the self-test."""

RESET = "\n   Thresholds and heads become those of the model. */"
"""How it ends what it says about the reset."""


def signatures(plan: Plan, arena: str) -> tuple[Signature, Signature]:
    """(of the function that stops, of the one that never does)."""
    stopping = replace(signature(plan, plan.graph.main, arena), result="int32_t")
    *given, output = stopping.parameters.items()
    parameters = dict([*given, ("features", "int8_t *features"), output])
    return stopping, Signature("int32_t", f"{plan.name}_invoke_all", parameters)


def interface(plan: Plan, arena: str) -> str:
    """What the header declares in place of a function that always computes everything."""
    stopping, whole = signatures(plan, arena)
    sizes = feature_sizes(plan)
    return (
        fill(
            """
        /* Early exits. Inference stops at the first one whose highest score code is at least its threshold; at $never
           it never does. Thresholds and heads are variables, $bytes bytes of RAM beside the arena. */
        #define ${NAME}_EXITS $exits
        #define ${NAME}_EXIT_THRESHOLDS { $thresholds }
        #define ${NAME}_EXIT_FEATURES { $features } /* inputs of each exit's head */
        #define ${NAME}_EXIT_FEATURE_BYTES $total /* of all heads */

        /* Run the network up to the first exit that is sure, or to its end. Writes the scores found there, and returns
           which exit it was: 0, 1, ..., or ${NAME}_EXITS for the end.
           Inputs and outputs are codes, NHWC; they may not overlap each other$or_arena. */
        $stopping;

        /* Run the whole network, whatever the thresholds. Copies the inputs of the exits' heads to `features`, one exit
           after the other, writes the scores found at the end, and returns ${NAME}_EXITS. */
        $whole;

        /* Set the thresholds of all exits, ${NAME}_EXITS of them, from the next call on; 0: those given above. */
        void ${name}_set_thresholds(const int16_t *thresholds);

        /* Set the head of one exit from the next call on, in the meaning, the order and the scales of the model file:
           weights [scores][features] and biases [scores], which are not copied; 0: those of the model. For every score,
           255 times the sum of its weights' magnitudes and the magnitude of its bias must together be below 2^31. */
        void ${name}_set_head(int32_t number, const int8_t *weights, const int32_t *bias);

        /* Where the model's own head of an exit is, whatever was set. */
        void ${name}_factory_head(int32_t number, const int8_t **weights, const int32_t **bias);
        """,
            NAME=plan.name.upper(),
            name=plan.name,
            never=NEVER,
            exits=len(plan.exits),
            bytes=12 * len(plan.exits),
            thresholds=", ".join(str(each.threshold) for each in plan.exits),
            features=", ".join(map(str, sizes)),
            total=sum(sizes),
            or_arena=" or the arena" if arena == "caller" else "",
            stopping=stopping,
            whole=whole,
        )
        + "\n"
    )


def feature_sizes(plan: Plan) -> list[int]:
    """Inputs of each exit's head, which are as many bytes."""
    return [plan.graph.tensors[each.features].bytes for each in plan.exits]


def table(plan: Plan, pool: Pool) -> str:
    """The variables, which stand before the layers, and what changes them."""
    rows = ",\n".join(f"    {{{weights}, {bias}, {each.threshold}}}" for each, weights, bias in _factory(plan, pool))
    return _TABLE.replace("$rows", rows).replace("$exits", str(len(plan.exits))).replace("$name", plan.name) + "\n"


def resets(plan: Plan) -> list[str]:
    """C that gives thresholds and heads their first values."""
    heads = [f"{plan.name}_set_head({number}, 0, 0);" for number in range(len(plan.exits))]
    return [f"{plan.name}_set_thresholds(0);", *heads]


def functions(plan: Plan, pool: Pool, arena: str) -> str:
    """The functions of the main entry."""
    stopping, whole = signatures(plan, arena)
    run = replace(whole, result="static int32_t", name=f"{plan.name}_run")
    main = plan.graph.main
    heads = {each.head: number for number, each in enumerate(plan.exits)}
    ends = {each.scores: number for number, each in enumerate(plan.exits)}
    starts = [sum(feature_sizes(plan)[:number]) for number in range(len(plan.exits))]
    lines: list[str] = []
    for position, layer in enumerate(plan.of(main)):
        if position in heads:
            lines += _keep(plan, pool, heads[position], starts)
        lines += layer_calls(plan, layer, pool)
        target = layer.operator.outputs[0]
        if target in ends:
            lines += _leave(plan, pool, ends[target], target)
    lines += [*result_copies(plan, main, pool), f"return {len(plan.exits)};"]
    passed = {name: name for name in run.parameters}
    bodies = ((stopping, passed | {"features": "0"}), (whole, passed))
    wrappers = [
        function(plan, called, [f"return {run.name}({', '.join(arguments.values())});"], arena)
        for called, arguments in bodies
    ]
    about = "/* Stops where it is sure, unless the inputs of the heads are wanted. */\n"
    return "\n".join([about + function(plan, run, lines, arena), *wrappers])


def _factory(plan: Plan, pool: Pool) -> list[tuple[Exit, str, str]]:
    """Of each exit, the names of its head's weights and biases."""
    layers, found = plan.of(plan.graph.main), []
    for each in plan.exits:
        layer = layers[each.head]
        op = lower.lower(plan.graph, layer.operator, layer.name)
        assert isinstance(op, lower.FullyConnected)
        arrays = Array("weights", "int8_t", op.weights), Array("bias", "int32_t", op.bias)
        weights, bias = (pool.name(array, layer) for array in arrays)
        found.append((each, weights, bias))
    return found


def _keep(plan: Plan, pool: Pool, number: int, starts: Sequence[int]) -> list[str]:
    """C that copies the inputs of a head, before it, to who wants them."""
    index = plan.exits[number].features
    source, size = pointer(plan, plan.graph.main, index, pool), plan.graph.tensors[index].bytes
    return [
        "if (features != 0) {",
        f"    {plan.name}_copy(features + {starts[number]}, {source}, {size});",
        "}",
    ]


def _leave(plan: Plan, pool: Pool, number: int, scores: int) -> list[str]:
    """C that stops, where it may, with the scores that have just been computed."""
    source, size = pointer(plan, plan.graph.main, scores, pool), plan.graph.tensors[scores].bytes
    return [
        f"if (features == 0 && {plan.name}_sure({source}, {size}, {plan.name}_exits[{number}].threshold)) {{",
        f"    {plan.name}_copy(output, {source}, {size});",
        f"    return {number};",
        "}",
    ]


_TABLE = """\
/* What decides and ends at an exit. */
typedef struct {
    const int8_t *weights; /* of its head, [scores][features] */
    const int32_t *bias;
    int32_t threshold;
} $name_exit;

static const $name_exit $name_factory[$exits] = {
$rows
};
static $name_exit $name_exits[$exits] = {
$rows
};

void $name_set_thresholds(const int16_t *thresholds)
{
    for (int32_t i = 0; i < $exits; i++) {
        $name_exits[i].threshold = thresholds != 0 ? thresholds[i] : $name_factory[i].threshold;
    }
}

void $name_set_head(int32_t number, const int8_t *weights, const int32_t *bias)
{
    $name_exits[number].weights = weights != 0 ? weights : $name_factory[number].weights;
    $name_exits[number].bias = bias != 0 ? bias : $name_factory[number].bias;
}

void $name_factory_head(int32_t number, const int8_t **weights, const int32_t **bias)
{
    *weights = $name_factory[number].weights;
    *bias = $name_factory[number].bias;
}

/* Whether the highest of the scores is at least `threshold`. */
static int $name_sure(const int8_t *scores, int32_t count, int32_t threshold)
{
    for (int32_t i = 0; i < count; i++) {
        if (scores[i] >= threshold) {
            return 1;
        }
    }
    return 0;
}
"""
