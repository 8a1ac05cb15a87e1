"""The kernel of UNIDIRECTIONAL_SEQUENCE_LSTM."""

from __future__ import annotations

import numpy as np

from ... import lower
from ...memory import Demand
from ..kernel import Array, Helper, Kernel, Kernels, Site, fill, in_fours


class LstmKernel(Kernels):
    """Portable C99. The four gates of all cells are in ``scratch`` while the states are updated."""

    def lstm(self, op: lower.Lstm, site: Site) -> Kernel:
        cells, depth = op.gates["cell"].values.weights.shape
        gates, arrays = [], []
        for number, name in enumerate(lower.GATES):
            gate = op.gates[name]
            at = f"gates + {number * cells}" if number else "gates"
            for source, count, product in (("input", depth, gate.values), ("hidden", cells, gate.hidden)):
                role = f"{name}_{'values' if source == 'input' else source}"
                weights, bias = in_fours(product.weights, product.bias)
                arrays += [Array(role, "int8_t", weights), Array(f"{role}_bias", "int32_t", bias)]
                gates.append(
                    f"{site.prefix}_gate({at}, {source}, {count}, {role}, {role}_bias, {product.multiplier},"
                    f" {product.shift}, {cells});"
                )
        code, _ = self.quantize(op.requantization, f"opened * {site.prefix}_tanh_16(state, {op.cell_bits})", site)
        clip = f"state = state > {op.clip} ? {op.clip} : state < -{op.clip} ? -{op.clip} : state;" if op.clip else ""
        text = fill(
            """
            int16_t *const gates = (int16_t *)(void *)scratch;

            for (int32_t step = 0; step < $steps; step++) {
                for (int32_t i = 0; i < 4 * $cells; i++) {
                    gates[i] = 0;
                }
                $gates
                for (int32_t i = 0; i < $cells; i++) {
                    const int32_t given = ${prefix}_logistic_16(gates[i]);
                    const int32_t kept = ${prefix}_logistic_16(gates[$cells + i]);
                    const int32_t fresh = ${prefix}_tanh_16(gates[2 * $cells + i], 3);
                    const int32_t opened = ${prefix}_logistic_16(gates[3 * $cells + i]);
                    int32_t state = ${prefix}_rounding_shift(kept * cell[i], 15);

                    state = ${prefix}_saturate_16(state + ${prefix}_rounding_shift(given * fresh, $shift));
                    $clip
                    cell[i] = (int16_t)state;
                    hidden[i] = $code;
                    *output++ = hidden[i];
                }
                input += $depth;
            }
            """,
            steps=op.steps,
            gates="\n".join(gates),
            cells=cells,
            depth=depth,
            prefix=site.prefix,
            shift=15 + op.cell_bits,
            clip=clip,
            code=code,
        )
        return Kernel(
            text,
            Demand(scratch_bytes=4 * cells * np.dtype(np.int16).itemsize),
            states=("hidden", "cell"),
            arrays=tuple(arrays),
            helpers=(
                "gate",
                "logistic_16",
                "tanh_16",
                "rounding_shift",
                "saturate_16",
                self.quantizer(op.requantization),
            ),
            macs=op.steps * sum(gate.values.weights.size + gate.hidden.weights.size for gate in op.gates.values()),
        )


HELPERS = {
    "saturate_16": Helper("""\
static inline int32_t ${prefix}_saturate_16(int32_t value)
{
    return value < -32768 ? -32768 : value > 32767 ? 32767 : value;
}
"""),
    "gate": Helper(
        """\
/* to[k] += the requantised product of `count` codes with row k of the weights, which lie in blocks of four rows;
   saturates. */
static void ${prefix}_gate(int16_t *to, const int8_t *from, int32_t count, const int8_t *weights, const int32_t *bias,
                           int32_t multiplier, int32_t shift, int32_t cells)
{
    for (int32_t block = 0; block < cells; block += 4) {
        int32_t sums[4];

        ${prefix}_dot4(sums, bias + block, from, weights + block * count, count);
        for (int32_t cell = block; cell < block + 4 && cell < cells; cell++) {
            int32_t sum = ${prefix}_requantize(sums[cell - block], multiplier, shift);

            /* what is there is an int16: beyond twice that, nothing changes */
            sum = sum < -65536 ? -65536 : sum > 65536 ? 65536 : sum;
            to[cell] = (int16_t)${prefix}_saturate_16(to[cell] + sum);
        }
    }
}
""",
        ("dot4", "requantize", "saturate_16"),
    ),
    "product_16": Helper(
        """\
/* a * b / 2^15, rounded half up. */
static inline int32_t ${prefix}_product_16(int32_t a, int32_t b)
{
    return ${prefix}_saturate_16((a * b + 16384) >> 15);
}
""",
        ("saturate_16",),
    ),
    "exp_16": Helper(
        """\
/* exp(a) as Q0.15, for a <= 0 with 1 to 7 integer bits: a quartic on [-1/4, 0), a factor per set bit of the rest. */
static int32_t ${prefix}_exp_16(int32_t a, int32_t integer_bits)
{
    static const int16_t factors[7] = { $factors };
    const int32_t fraction_bits = 15 - integer_bits, quarter = 1 << (fraction_bits - 2);
    const int32_t fraction = (a & (quarter - 1)) - quarter, rest = fraction - a;
    const int32_t x = fraction * (1 << integer_bits) + 4096, x2 = ${prefix}_product_16(x, x);
    const int32_t x3 = ${prefix}_product_16(x2, x), x4 = ${prefix}_product_16(x2, x2);
    const int32_t tail = ${prefix}_product_16(${prefix}_rounding_shift(x4, 2) + x3, 10923) + x2;
    int32_t result = 28918 + ${prefix}_product_16(x + ${prefix}_rounding_shift(tail, 1), 28918);

    result = ${prefix}_saturate_16(result);
    for (int32_t step = 0; step < 7 && step < integer_bits + 2; step++) {
        if ((rest >> (fraction_bits + step - 2) & 1) != 0) {
            result = ${prefix}_product_16(result, factors[step]);
        }
    }
    if (integer_bits > 5 && a < -(32 * (1 << fraction_bits))) {
        result = 0;
    }
    return a == 0 ? 32767 : result;
}
""".replace("$factors", "25520, 19875, 12055, 4435, 600, 11, 0"),
        ("product_16", "rounding_shift", "saturate_16"),
    ),
    "inverse_16": Helper(
        """\
/* 2 / (1 + a) as Q2.13, for a Q0.15 from 0 on. Three Newton steps. */
static int32_t ${prefix}_inverse_16(int32_t a)
{
    const int32_t half = (a + 32768) >> 1;
    int32_t x = 23130 + ${prefix}_product_16(half, -15420); /* 48/17 - 32/17 * half */

    for (int step = 0; step < 3; step++) {
        x += ${prefix}_saturate_16(${prefix}_product_16(x, 8192 - ${prefix}_product_16(half, x)) * 4);
    }
    return x;
}
""",
        ("product_16", "saturate_16"),
    ),
    "logistic_16": Helper(
        """\
/* 1 / (1 + exp(-a)) as Q0.15, for a Q3.12. */
static int32_t ${prefix}_logistic_16(int32_t a)
{
    const int32_t above = ${prefix}_saturate_16(2 * ${prefix}_inverse_16(${prefix}_exp_16(a > 0 ? -a : a, 3)));

    return a == 0 ? 16384 : a > 0 ? above : 32767 - above;
}
""",
        ("exp_16", "inverse_16", "saturate_16"),
    ),
    "tanh_16": Helper(
        """\
/* tanh(a) as Q0.15, for a with 0 to 6 integer bits. */
static int32_t ${prefix}_tanh_16(int32_t a, int32_t integer_bits)
{
    const int32_t above = 4 * (${prefix}_inverse_16(${prefix}_exp_16(a > 0 ? -a : a, integer_bits + 1)) - 8192);
    const int32_t magnitude = ${prefix}_saturate_16(above);

    return a == 0 ? 0 : a > 0 ? magnitude : -magnitude;
}
""",
        ("exp_16", "inverse_16", "saturate_16"),
    ),
}
