"""Layers of sparse weights in portable C: one row of input at a time, its non-zero weights alone."""

from __future__ import annotations

from ... import lower
from .. import sparse
from ..kernel import Array, Site, fill
from .renderer import Renderer, folded_bias


class SparseRenderer(Renderer):
    """`Renderer`, whose products read what `emit.sparse` keeps of weights that are mostly zero."""

    weights = "sparse"

    def dots(
        self, op: lower.Convolution | lower.FullyConnected, source: str, site: Site
    ) -> tuple[str, tuple[Array, ...], tuple[str, ...]]:
        pairs = sparse.channels(op.weights)
        if pairs is None:
            return super().dots(op, source, site)
        scaling = op.requantization
        text = fill(
            """
            const uint8_t *entry = stream + $header;

            for (int32_t channel = 0; channel < $channels; channel++) {
                const int8_t *value = $source;
                int32_t sum = ${prefix}_word(entry);
                int32_t pairs = entry[4] | entry[5] << 8;

                for (entry += 6; pairs > 0; pairs--) {
                    value += entry[0] & 15;
                    sum += (int8_t)entry[1] * *value++;
                    value += entry[0] >> 4;
                    sum += (int8_t)entry[2] * *value++;
                    entry += 3;
                }
                *output++ = ${prefix}_quantize(sum, ${prefix}_word(entry), -(int8_t)entry[4], $zero_point, $low, $high);
                entry += 5;
            }
            """,
            header=sparse.HEADER,
            channels=len(op.weights),
            source=source,
            prefix=site.prefix,
            zero_point=scaling.zero_point,
            low=scaling.low,
            high=scaling.high,
        )
        return (
            text,
            (sparse.stream(op, pairs, folded_bias(op, op.weights.reshape(len(pairs), -1)), scaling.zero_point),),
            ("quantize", "word"),
        )
