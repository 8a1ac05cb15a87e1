"""How windows of a convolution are copied side by side with MVE."""

from __future__ import annotations

from ... import lower
from ..kernel import Site, fill
from .blocks import BlockRenderer
from .gathering import Gathering, row_under
from .mve_assembly import VECTOR, MveAssembly, vectors_of
from .thumb2_assembly import add_to


class MveGathering(BlockRenderer):
    """The renderer's part that does it, with the helpers ``fill`` and ``copy``."""

    def gathering(self, op: lower.Convolution, site: Site) -> Gathering:
        """Copies the rows under one row of output into a band with padding, and windows out of the band."""
        if op.dilation[1] > 1:
            return super().gathering(op, site)
        _, rows, columns, depth = site.inputs[0].shape
        _, height, width, _ = op.weights.shape
        pitch = ((site.output.shape[2] - 1) * op.stride[1] + width) * depth
        left = op.pads[2]
        band_bytes = -(-(height * pitch + VECTOR) // VECTOR) * VECTOR
        window = f"window_{height}x{width * depth}_{pitch}"
        self.helpers[window] = _window(height, width * depth, pitch).helper(window)
        return Gathering(
            f"{site.prefix}_fill(scratch, {op.input_zero_point}, {band_bytes});",
            fill(
                """
                for (int32_t i = 0; i < $height; i++) {
                    const int32_t row = $row;
                    int8_t *const to = scratch + (i * $pitch + $left);

                    if (row < 0 || row >= $rows) {
                        ${prefix}_fill(to, $zero_point, $inside);
                    } else {
                        ${prefix}_copy(to, input + row * $row_bytes, $inside);
                    }
                }
                """,
                prefix=site.prefix,
                height=height,
                row=row_under(op),
                pitch=pitch,
                left=left * depth,
                rows=rows,
                zero_point=op.input_zero_point,
                inside=min(columns * depth, pitch - left * depth),
                row_bytes=columns * depth,
            ),
            f"{site.prefix}_{window}(scratch + x * {op.stride[1] * depth}, next);",
            band_bytes,
            ("fill", "copy", window),
            behind=-(width * depth) % VECTOR,
        )


def _window(height: int, row_bytes: int, pitch: int) -> MveAssembly:
    """The last vector of a row may hold more than the row; the next row is written over it."""
    lines = []
    for row in range(height):
        for _ in range(vectors_of(row_bytes)):
            lines += ["vldrb.u8 q0, [r0], #16", "vstrb.8 q0, [r1], #16"]
        back = vectors_of(row_bytes) * VECTOR
        if row < height - 1:
            lines += add_to("r0", pitch - back) + add_to("r1", row_bytes - back)
    return MveAssembly(
        f"Copies {height} rows of {row_bytes} bytes, {pitch} bytes apart, side by side, and touches"
        f" {-row_bytes % VECTOR} bytes behind them.",
        ("const int8_t *band", "int8_t *to"),
        [*lines, "bx lr"],
    )
