"""Kernels of operators of which some input or output is int16, where those for bytes do not fit."""

from __future__ import annotations

from ..kernel import Kernels


class WideKernels(Kernels):
    """Portable C99."""
