"""Layers of sparse weights in portable C: one row of input at a time, its non-zero weights alone.

Those of a depthwise convolution are unpacked for the kernel that it has anyway: of one channel, on the stack, where the
kernel takes one after another; else all of them, in scratch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ... import lower
from ...memory import Demand
from .. import sparse
from ..kernel import Array, ChannelLoop, Kernel, Site, fill, positions
from .renderer import Renderer
from .weighted import folded_bias

_ROOM = 1024
"""The most bytes of scratch that unpacked weights take."""


class SparseRenderer(Renderer):
    """`Renderer`, whose products read what `emit.sparse` keeps of weights that are mostly zero."""

    weights = "sparse"

    def channel_loop(
        self, op: lower.Convolution, stream: Array, outputs: int, site: Site, *advances: str
    ) -> ChannelLoop:
        kept = sparse.masked(op.weights, stream.values, outputs)
        if kept is None:
            return super().channel_loop(op, stream, outputs, site, *advances)
        head = fill(
            """
            const uint8_t *packed = stream;

            $each_channel
                uint32_t row[$words];

                packed = ${prefix}_unpack(packed, row, $before, $masked, $behind);
            """,
            each_channel=self.each_channel(stream.values.shape[0], *advances),
            prefix=site.prefix,
            words=kept.words,
            before=kept.before,
            masked=kept.masked,
            behind=kept.behind,
        )
        return ChannelLoop(head, kept.array, ("unpack",))

    def with_constants(self, op: lower.Convolution, kernel: Kernel, site: Site) -> Kernel:
        dense, *others = kernel.arrays
        words, most = dense.values, sparse.SHARE
        if dense.ctype == "int8_t":  # nothing but weights
            words, most = np.pad(words.reshape(1, -1), ((0, 0), (0, -words.size % 4))).view("<u4"), 1.0
        if words.ndim == 1 or words.nbytes > _ROOM or self.optimize == "ram":  # of one dimension: not in rows
            return kernel
        kept = sparse.masked(op.weights, words, positions(site), most)
        if kept is None:
            return kernel
        body = fill(
            """
            $ctype *const $role = ($ctype *)(void *)scratch;
            const uint8_t *unread = packed;

            for (int32_t done = 0; done < $bytes; done += $row_bytes) {
                unread = ${prefix}_unpack(unread, scratch + done, $before, $masked, $behind);
            }
            $body
            """,
            ctype=dense.ctype,
            role=dense.role,
            prefix=site.prefix,
            bytes=words.nbytes,
            row_bytes=4 * kept.words,
            before=kept.before,
            masked=kept.masked,
            behind=kept.behind,
            body=kernel.body,
        )
        return replace(
            kernel,
            body=body,
            demand=Demand(words.nbytes, kernel.demand.over),
            arrays=(replace(kept.array, role="packed"), *others),
            helpers=(*kernel.helpers, "unpack"),
        )

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
