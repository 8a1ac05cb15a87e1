"""mcu-codegen: int8 networks to C for Cortex-M, with proof."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .commands import tool

VERBS = {
    "inspect": ("mcu_codegen.commands.inspect", "Show what a .tflite holds, and every reason for refusing it"),
    "emit": ("mcu_codegen.commands.emit", "Write the C of an int8 .tflite model"),
    "verify": ("mcu_codegen.commands.verify", "Compare every executor, layer by layer, byte by byte"),
    "measure": ("mcu_codegen.commands.measure", "Count instructions, flash and RAM per layer on an emulated core"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit status."""
    return tool.run("mcu-codegen", __doc__, VERBS, arguments)


if __name__ == "__main__":
    sys.exit(main())
