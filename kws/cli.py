"""kws: train, quantise and evaluate keyword-spotting networks for microcontrollers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mcu_codegen.commands import tool

VERBS = {
    "data": ("kws.data.command", "Show what a corpus holds, or write it as a folder"),
    "train": ("kws.training.command", "Train a network on a corpus"),
    "quantize": ("kws.quantization.quantize", "Turn a trained network into an int8 .tflite"),
    "compress": ("kws.compress.compress", "Prune a trained network until it fits a core, a size or a loss of accuracy"),
    "transfer": ("kws.compress.transfer", "Let a small network learn from a large one: new data, or new words"),
    "meta": ("kws.meta.command", "Train a network to learn new words from a few clips; prune it so that it still can"),
    "enroll": ("kws.personalize.enroll", "Make a network one person's, from a few recordings"),
    "evaluate": ("kws.evaluate", "Accuracy of a float or int8 network on a corpus"),
    "demo": ("kws.demo.demo", "Everything in one go: train, quantise, emit, verify, measure"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit status."""
    return tool.run("kws", __doc__, VERBS, arguments)


if __name__ == "__main__":
    sys.exit(main())
