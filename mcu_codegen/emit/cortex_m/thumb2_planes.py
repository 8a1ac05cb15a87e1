"""Depthwise convolutions by 3 x 3 and 1 x 3 for Cortex-M3, M4, M7 and M33, plane by plane."""

from __future__ import annotations

from ... import lower
from ...memory import Demand, Over
from ..kernel import Array, Kernel, Site, fill
from ..portable.renderer import Renderer
from ..portable.weighted import folded_bias
from .assembly import REACH, Assembly, planes, requantizes, scaling, windows, words
from .clamp import Clamp, clamp_of
from .thumb2_assembly import moved_rounding
from .thumb2_columns import widen

_COLUMNS = 5  # columns that are computed at a time, at most


class Thumb2Planes(Renderer):
    """A subclass has the instructions."""

    element_bytes: int  # of a position in the plane
    scale: int  # of accumulators: 2 where a kernel doubles one operand

    def chunks(self, columns: int, stride: int) -> tuple[list[tuple[int, int]], int]:
        """(start, size) of the columns that depthwise kernels compute together, and the plane's pitch in elements."""
        raise NotImplementedError

    def depthwise_rows(
        self,
        height: int,
        columns: int,
        row_bytes: int,
        pitch: int,
        channels: int,
        stride: tuple[int, int],
        clamp: Clamp,
    ) -> Assembly:
        """`columns` columns of every row of output of a window of `height` rows, from one plane. Parameters: plane,
        stream, output, rows."""
        raise NotImplementedError

    def depthwise(self, op: lower.Convolution, site: Site) -> Kernel:
        """Widens one channel's plane into a padded buffer, then computes its rows, a few columns at a time."""
        _, input_rows, input_columns, channels = site.inputs[0].shape
        _, rows, columns, _ = site.output.shape
        height = op.weights.shape[1]
        if not planes(op) or not requantizes(op) or _COLUMNS * channels > REACH or self.at_most:
            return super().depthwise(op, site)
        top, _, left, _ = op.pads
        clamp = clamp_of(op.requantization)
        chunks, pitch = self.chunks(columns, op.stride[1])
        plane_rows = (rows - 1) * op.stride[0] + height
        inside = min(input_columns, pitch - left)
        widen_name = f"widen_{inside}_{channels}_{input_columns * channels}_{pitch}"
        helpers: dict[str, Assembly] = {widen_name: widen(self.element_bytes, inside, channels, input_columns, pitch)}
        loop = self.channel_loop(op, self._depthwise_stream(op), rows * columns, site, "input++", "output++")
        calls = []
        for start, size in chunks:
            name = f"rows_{height}_{size}_{columns * channels}_{pitch}_{channels}_{op.stride[0]}_{op.stride[1]}"
            name += clamp.suffix
            helpers[name] = self.depthwise_rows(height, size, columns * channels, pitch, channels, op.stride, clamp)
            calls.append(
                f"{site.prefix}_{name}(plane + {start * op.stride[1]}, row, output + {start * channels}, {rows});"
            )
        self.helpers |= {name: assembly.helper(name) for name, assembly in helpers.items()}
        return Kernel(
            fill(
                """
                $element *const plane = ($element *)(void *)scratch;

                for (int32_t i = 0; i < $elements; i++) {
                    plane[i] = $zero_point;
                }
                $each_channel
                    ${prefix}_$widen(input, plane + $first, $inside_rows);
                    $calls
                }
                """,
                element=f"int{8 * self.element_bytes}_t",
                elements=plane_rows * pitch,
                zero_point=op.input_zero_point,
                each_channel=loop.head,
                prefix=site.prefix,
                widen=widen_name,
                first=top * pitch + left,
                inside_rows=min(input_rows, plane_rows - top),
                calls="\n".join(calls),
            ),
            # a channel's output reaches only that channel's input, which has been copied
            Demand(self.element_bytes * plane_rows * pitch, (Over(every=channels),)),
            arrays=(loop.stream,),
            helpers=(*helpers, *loop.helpers),
            macs=rows * columns * op.weights.size,
        )

    def _depthwise_stream(self, op: lower.Convolution) -> Array:
        """Per channel: the bias, the words of `windows`, the multiplier."""
        channels = op.weights.shape[3]
        bias = self.scale * folded_bias(op, op.weights.reshape(-1, channels).T)
        return words(bias[:, None], windows(op, moved_rounding(op)), scaling(op, channels)[0][:, None])
