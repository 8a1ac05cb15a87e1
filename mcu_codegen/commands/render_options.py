"""The options by which a verb trades speed for flash and RAM: one meaning wherever C is made."""

from __future__ import annotations

import argparse

from ..emit.cortex_m.instruction_sets import DENSE, RENDERERS, WIDE
from ..emit.plan import INPUTS
from ..emit.portable.renderer import OPTIMIZE, Renderer
from ..errors import InputError
from ..targets import TARGETS, Target

DEFAULT = "sparse"
"""As which weights lie in flash, where nobody asks and users are not switched."""
_WEIGHTS = {DEFAULT: RENDERERS, "int8": DENSE, "int16": WIDE}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--optimize",
        choices=OPTIMIZE,
        default=OPTIMIZE[0],
        help="what to give other things away for; ram: slower kernels where quicker ones need more of it, else as speed"
        " (default: %(default)s)",
    )
    wide = ", ".join(target.name for target in TARGETS.values() if target.instruction_set in WIDE)
    parser.add_argument(
        "--weights",
        choices=_WEIGHTS,
        help="how weights lie in flash: sparse leaves zeros out in layers that this halves, int8 keeps them everywhere,"
        f" int16 is faster on {wide} and takes twice the flash (default: sparse, with --switchable int8)",
    )
    parser.add_argument(
        "--input",
        choices=INPUTS,
        default=INPUTS[0],
        help="what becomes of inputs: kept in buffers of the caller's, or reusable, which puts inputs and outputs into"
        " the arena, where other tensors take their place (default: %(default)s)",
    )


def renderer(options: argparse.Namespace, target: Target | None) -> Renderer:
    """The renderer of `target`, or of any core. Raises InputError where the weights asked for do not pay."""
    instruction_set = target.instruction_set if target else "portable"
    renderers = _WEIGHTS[options.weights or DEFAULT]
    if instruction_set not in renderers:
        accepted = ", ".join(each.name for each in TARGETS.values() if each.instruction_set in renderers)
        found = f"--target {target.name}" if target else "portable C"
        raise InputError(f"--weights {options.weights}: does not make {found} faster; accepted is --target {accepted}")
    return renderers[instruction_set](options.optimize)
