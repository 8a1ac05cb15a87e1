"""Sparse weights on Cortex-M0 and M0+: the products are C, the requantisation is `armv6m_assembly`'s, in C too."""

from __future__ import annotations

from ..kernel import Helper
from ..portable.renderer import OPTIMIZE
from .armv6m import Armv6mRenderer
from .sparse import SparseBlocks


class SparseArmv6mRenderer(SparseBlocks, Armv6mRenderer):
    """Cortex-M0, M0+."""

    sparse_quantize = "quantize28"

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers["quantize28"] = _QUANTIZE


_QUANTIZE = Helper(
    """\
/* As quantize, of an accumulator below 2^28 and a right shift: all products fit 32 bits. */
static inline int8_t ${prefix}_quantize28(int32_t accumulator, int32_t multiplier, int32_t shift, int32_t zero_point,
                                          int32_t low, int32_t high)
{
    const int32_t upper = (accumulator + 16384) >> 15, lower = accumulator - upper * 32768;
    const int32_t first = multiplier >> 16, second = multiplier & 65535;
    const int32_t rest = (upper * second + 2 * lower * first + ((lower * second) >> 15) + 32768) >> 16;
    const int32_t value = ${prefix}_rounding_shift(upper * first + rest, -shift) + zero_point;

    return (int8_t)(value < low ? low : value > high ? high : value);
}
""",
    ("rounding_shift",),
)
