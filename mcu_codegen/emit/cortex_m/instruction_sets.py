"""The renderer of each instruction set."""

from __future__ import annotations

from ..portable.renderer import Renderer
from ..portable.sparse import SparseRenderer
from .armv6m import Armv6mRenderer
from .armv6m_sparse import SparseArmv6mRenderer
from .armv7m import Armv7mRenderer
from .dsp import DspRenderer, WideDspRenderer
from .mve import MveRenderer
from .mve_sparse import SparseMveRenderer
from .thumb2_sparse import SparseArmv7mRenderer, SparseDspRenderer

DENSE: dict[str, type[Renderer]] = {
    "portable": Renderer,
    "armv6m": Armv6mRenderer,
    "armv7m": Armv7mRenderer,
    "dsp": DspRenderer,
    "mve": MveRenderer,
}
"""By instruction set, as in targets.Target.instruction_set."""

WIDE: dict[str, type[Renderer]] = {"dsp": WideDspRenderer}
"""By instruction set, the renderer that keeps weights as int16 in flash, where that is faster."""

RENDERERS: dict[str, type[Renderer]] = {
    "portable": SparseRenderer,
    "armv6m": SparseArmv6mRenderer,
    "armv7m": SparseArmv7mRenderer,
    "dsp": SparseDspRenderer,
    "mve": SparseMveRenderer,
}
"""The same, with kernels for layers whose weights are mostly zero."""
