"""Layers of sparse weights (`emit.sparse`) in blocks of rows, on any instruction set.

The rows of a block are laid so that one input of all of them lies together, whatever its place; then a non-zero weight
is read once for the block, and a zero never. A subclass may have kernels of its own for what is C here.
"""

from __future__ import annotations

import numpy as np

from ... import lower
from .. import sparse
from ..kernel import Array, Helper, Site, fill
from ..portable.sparse import SparseRenderer
from ..portable.weighted import folded_bias
from .assembly import Scaled
from .blocks import BlockRenderer, Product


class SparseBlocks(BlockRenderer, SparseRenderer):
    """Goes before an instruction set's own renderer among the bases of a class."""

    sparse_quantize = "quantize"  # the helper that makes codes of accumulators, where that is C
    sparse_scale = 1  # of accumulators: 2 where packing doubles the inputs

    def is_sparse(self, op: Scaled) -> bool:
        return sparse.channels(op.weights) is not None

    def product(self, op: Scaled, depth: int, channels: int, rows: int, pitch: int) -> Product:
        if not self.is_sparse(op):
            return super().product(op, depth, channels, rows, pitch)
        pack, multiply = self.sparse_pack(depth, rows, pitch), self.sparse_multiply(op, channels, rows)
        return Product(pack, multiply, self.sparse_bytes(rows) * depth)

    def lying(self, op: Scaled, depth: int, channels: int) -> str:
        return "" if self.is_sparse(op) else super().lying(op, depth, channels)

    def rounds(self, op: Scaled, weights: np.ndarray) -> Array:
        if not self.is_sparse(op):
            return super().rounds(op, weights)
        pairs = sparse.channels(weights)
        assert pairs is not None
        return sparse.stream(op, pairs, self.sparse_scale * folded_bias(op, weights), self.sparse_addend(op))

    def calls(self, product: Product, stream: Array, source: str, channels: int, site: Site) -> str:
        if stream.ctype != "uint8_t":
            return super().calls(product, stream, source, channels, site)
        pack, multiply = (f"{site.prefix}_{name}" for name in (product.pack, product.multiply))
        return f"{pack}({source}, wide);\n{multiply}(wide, stream, output, {channels});"

    def sparse_addend(self, op: Scaled) -> int:
        """What kernels add to codes; those in C know the zero point."""
        return op.requantization.zero_point

    def sparse_bytes(self, rows: int) -> int:
        """Of one input of a block of `rows` packed rows."""
        return rows

    def sparse_pack(self, depth: int, rows: int, pitch: int) -> str:
        """The helper that packs; as `BlockRenderer.pack`."""
        name = f"turn_{depth}x{rows}_{pitch}"
        turns = [f"to[{row}] = input[{row * pitch}];" for row in range(rows)]
        text = fill(
            """
            /* Lays $rows x $depth inputs, whose rows begin $pitch bytes apart, by turns: those of a place together. */
            static void $${prefix}_$name(const int8_t *input, void *wide)
            {
                int8_t *to = (int8_t *)wide;

                for (int32_t i = 0; i < $depth; i++) {
                    $turns
                    to += $rows;
                    input++;
                }
            }
            """,
            name=name,
            rows=rows,
            depth=depth,
            pitch=pitch,
            turns="\n".join(turns),
        )
        self.helpers[name] = Helper(text + "\n")
        return name

    def sparse_multiply(self, op: Scaled, channels: int, rows: int) -> str:
        """The helper that multiplies `rows` packed rows. Parameters: wide, stream, output, count of channels."""
        scaling = op.requantization
        name = f"sparse_{rows}_{channels}_of_{scaling.zero_point + 128}_{scaling.low + 128}_{scaling.high + 128}"
        self.helpers[name] = _multiply(channels, rows, name, self.sparse_quantize, scaling)
        return name


def _multiply(channels: int, rows: int, name: str, quantize: str, scaling: lower.Requantization) -> Helper:
    ends = f"{scaling.zero_point}, {scaling.low}, {scaling.high}"

    def add(code: str) -> str:
        return "\n".join(f"sum{row} += {code} * input[{row}];" for row in range(rows))

    text = fill(
        """
        /* $rows packed rows times sparse channels. The outputs of a row are $channels bytes. */
        static void $${prefix}_$name(const void *wide, const uint8_t *stream, int8_t *output, int32_t count)
        {
            stream += $header;
            for (; count > 0; count--) {
                const int8_t *input = (const int8_t *)wide;
                const int32_t bias = $${prefix}_word(stream);
                int32_t pairs = stream[4] | stream[5] << 8;
                int32_t multiplier, shift;
                $sums

                for (stream += 6; pairs > 0; pairs--) {
                    const int32_t first = (int8_t)stream[1], second = (int8_t)stream[2];

                    input += $first_gap;
                    $add_first
                    input += $rows + $second_gap;
                    $add_second
                    input += $rows;
                    stream += 3;
                }
                multiplier = $${prefix}_word(stream);
                shift = -(int8_t)stream[4];
                $store
                output++;
                stream += 5;
            }
        }
        """,
        name=name,
        rows=rows,
        channels=channels,
        header=sparse.HEADER,
        sums="\n".join(f"int32_t sum{row} = bias;" for row in range(rows)),
        first_gap="(stream[0] & 15)" + (f" * {rows}" if rows > 1 else ""),
        second_gap="(stream[0] >> 4)" + (f" * {rows}" if rows > 1 else ""),
        add_first=add("first"),
        add_second=add("second"),
        store="\n".join(
            f"output[{row * channels}] = $${{prefix}}_{quantize}(sum{row}, multiplier, shift, {ends});"
            for row in range(rows)
        ),
    )
    return Helper(text + "\n", (quantize, "word"))
