"""What every instruction set with kernels in assembly does: it says which layers are left to portable C, and why, and
where RAM is short it offers what needs less."""

from __future__ import annotations

from dataclasses import replace

from ... import lower
from ..kernel import Helper, Kernel, Site
from ..portable.renderer import HELPERS, OPTIMIZE, Renderer
from ..portable.sparse import SparseRenderer
from .assembly import BOUND, GUARD, Scaled
from .equivalent import equivalent
from .guard import guard


class AssemblyRenderer(Renderer):
    """A subclass has the kernels."""

    instruction_set: str  # as in targets.Target.instruction_set
    bound = BOUND  # accumulators that requantisation takes are smaller

    def __init__(self, optimize: str = OPTIMIZE[0]) -> None:
        super().__init__(optimize)
        self.helpers: dict[str, Helper] = {**HELPERS, GUARD: guard(self.instruction_set)}

    def render(self, lowered: lower.Lowered, site: Site) -> Kernel:
        if isinstance(lowered, Scaled):
            lowered = equivalent(lowered, self.bound)
        kernel = super().render(lowered, site)
        if kernel.portable or any(GUARD in self.helpers[name].uses for name in kernel.helpers):
            return kernel
        if isinstance(lowered, lower.Int16):
            return replace(kernel, portable="its codes are int16")
        kind = type(lowered.image if isinstance(lowered, lower.Batch) else lowered).__name__
        shape = " x ".join(map(str, site.inputs[0].shape))
        return replace(kernel, portable=f"no kernel of {self.instruction_set} for {kind} of {shape}")

    def kernels(self, lowered: lower.Lowered, site: Site) -> list[Kernel]:
        """The quickest; with blocks of fewer rows, and depthwise without planes; portable C."""
        found = [self.render(lowered, site)]
        if self.optimize != "ram":
            return found
        for self.at_most in (2, 1):
            found.append(self.render(lowered, site))
        self.at_most = 0
        portable = (SparseRenderer if self.weights == "sparse" else Renderer)(self.optimize)
        reason = f"it needs less RAM than kernels of {self.instruction_set}"
        found.append(replace(portable.render(lowered, site), portable=reason))
        less = [found[0]]
        for kernel in found[1:]:
            if kernel.demand.scratch_bytes < less[-1].demand.scratch_bytes:
                less.append(kernel)
        return less
