"""What a network costs: counted, and measured on the C that is generated for a core."""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mcu_codegen.emit.cortex_m.instruction_sets import RENDERERS
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emulate.toolchain import Toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.graph import Graph
from mcu_codegen.prove.measure import measure
from mcu_codegen.targets import Target

from ..data.audio import cached
from ..features import Window
from ..models import build
from ..models.count import count
from ..quantization.representative import representative

UNITS = {"params": "parameters", "macs": "MACs", "instructions": "instructions", "flash": "bytes", "ram": "bytes"}
SAID = UNITS | {"flash": "bytes of flash", "ram": "bytes of RAM"}


@dataclass(frozen=True)
class Costs:
    """Of one inference, or bytes. Parameters and MACs are `models.count`'s, the rest `mcu_codegen measure`'s."""

    params: int
    macs: int
    instructions: int
    flash: int  # code and weights
    ram: int  # arena, input and output

    def above(self, bounds: Mapping[str, int]) -> dict[str, int]:
        """By how much each of `bounds`, by the names of the fields, is exceeded; those that are kept are left out."""
        found = asdict(self)
        return {name: found[name] - most for name, most in bounds.items() if found[name] > most}

    def text(self) -> str:
        return ", ".join(f"{value:,} {SAID[name]}" for name, value in asdict(self).items())


@dataclass(frozen=True)
class Board:
    """Where costs are measured, and what network they are of: one of so many labels that is shown such windows."""

    target: Target
    toolchain: Toolchain
    labels: int
    window: Window

    def costs(self, model: str) -> Costs:
        """Of the network called `model` (`models.find`), with weights that stand for trained ones.

        Raises InputError where no emulator here counts instructions of the target.
        """
        return _costs(self, model)

    def costs_of(self, graph: Graph, model: str) -> Costs:
        """Of `graph`, which is the network called `model`; from the cache where that C was measured before."""
        sources = emit_model(graph, renderer=RENDERERS[self.target.instruction_set]())

        def write(folder: Path) -> None:
            found = measure(graph, self.target, self.toolchain)
            measured = {"instructions": found.instructions, "flash": found.flash, "ram": found.ram}
            (folder / "costs.json").write_text(json.dumps(measured))

        folder = cached("costs", [self.target.name, self.toolchain.version, *sorted(sources.items())], write)
        return Costs(**self._counted(model), **json.loads((folder / "costs.json").read_text()))

    def fits(self, model: str, bounds: Mapping[str, int]) -> bool:
        """Whether it keeps them all; measured only where counting does not tell."""
        counted = self._counted(model)
        if any(counted[name] > most for name, most in bounds.items() if name in counted):
            return False
        return bounds.keys() <= counted.keys() or not self.costs(model).above(bounds)

    def _counted(self, model: str) -> dict[str, int]:
        network = build(model, self.labels)
        found = count(network, self.window.frames(self.window.length), self.window.front_end.coefficients)
        return {"params": found.parameters, "macs": found.macs}


@functools.cache
def _costs(board: Board, model: str) -> Costs:
    return board.costs_of(representative(model, board.labels, board.window), model)


def configure(parser: argparse._ArgumentGroup) -> None:
    """One option for each cost."""
    for name, unit in UNITS.items():
        example = "24k is 24 KiB" if unit == "bytes" else "1.5M is 1,500,000"
        parser.add_argument(f"--{name}", metavar="N", help=f"{unit} at most; {example}")


def bounds_of(options: argparse.Namespace) -> dict[str, int]:
    """What the options of `configure` ask for. Raises InputError for what is no number."""
    asked = {name: getattr(options, name) for name in UNITS}
    return {name: number(name, text) for name, text in asked.items() if text is not None}


def number(name: str, text: str) -> int:
    """A bound as options spell it: 24k of bytes is 24 KiB, 1.5M of anything else is 1,500,000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    value = float(match[1]) * (1024 if UNITS[name] == "bytes" else 1000) ** " kM".index(match[2] or " ") if match else 0
    if value < 1:
        raise InputError(f"--{name} {text}: a number above 0 is accepted, perhaps with k or M behind it")
    return int(value)
