"""The renderer of each instruction set."""

from __future__ import annotations

from .armv6m import Armv6mRenderer
from .armv7m import Armv7mRenderer
from .dsp import DspRenderer
from .mve import MveRenderer
from .renderer import Renderer

RENDERERS: dict[str, type[Renderer]] = {
    "portable": Renderer,
    "armv6m": Armv6mRenderer,
    "armv7m": Armv7mRenderer,
    "dsp": DspRenderer,
    "mve": MveRenderer,
}
"""By instruction set, as in targets.Target.instruction_set."""
