"""The renderer of each instruction set."""

from __future__ import annotations

from ..portable.frontend import FrontEndRenderer
from ..portable.renderer import Renderer
from ..portable.sparse import SparseRenderer
from .armv6m import Armv6mRenderer
from .armv6m_frontend import Armv6mFrontEnd
from .armv6m_sparse import SparseArmv6mRenderer
from .armv7m import Armv7mRenderer
from .dsp import DspRenderer, WideDspRenderer
from .dsp_switchable import SwitchableDspRenderer
from .mve import MveRenderer
from .mve_frontend import MveFrontEnd
from .mve_sparse import SparseMveRenderer
from .switchable import SwitchableArmv6mRenderer, SwitchableArmv7mRenderer, SwitchableMveRenderer, SwitchableRenderer
from .thumb2_frontend import DspFrontEnd, Thumb2FrontEnd
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

SWITCHABLE: dict[str, type[SwitchableRenderer]] = {
    "portable": SwitchableRenderer,
    "armv6m": SwitchableArmv6mRenderer,
    "armv7m": SwitchableArmv7mRenderer,
    "dsp": SwitchableDspRenderer,
    "mve": SwitchableMveRenderer,
}
"""By instruction set, the renderer of networks whose channels open and close at run time."""

FRONT_ENDS: dict[str, type[FrontEndRenderer]] = {
    "portable": FrontEndRenderer,
    "armv6m": Armv6mFrontEnd,
    "armv7m": Thumb2FrontEnd,
    "dsp": DspFrontEnd,
    "mve": MveFrontEnd,
}
"""By instruction set, the renderer of the front end."""
