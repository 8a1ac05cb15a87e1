"""How the axes of an ONNX value lie in the memory of a graph's tensor.

ONNX puts channels before height and width, a graph behind them. So that neither Transposes of the file nor those
between the two orders cost anything where they cancel, a value knows the order in which its tensor holds its axes, and
only an operator that needs another has one made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, eq=False)
class Atom:
    """An axis that nothing has split so far, or a part of one. Two are the same only where they are one object."""

    size: int


@dataclass(frozen=True)
class Layout:
    axes: tuple[tuple[Atom, ...], ...]  # by axis of the ONNX value, what it consists of, outermost first
    memory: tuple[Atom, ...]  # all of them, as the tensor holds them

    @staticmethod
    def of(shape: Sequence[int], order: Iterable[int] | None = None) -> Layout:
        """A value of `shape` whose axes lie in `order`; one after the other by default."""
        axes = tuple((Atom(size),) for size in shape)
        return Layout(axes, tuple(axes[axis][0] for axis in (range(len(shape)) if order is None else order)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(math.prod(atom.size for atom in axis) for axis in self.axes)

    @property
    def order(self) -> tuple[int, ...] | None:
        """The axes as they lie in memory; None where one is torn apart."""
        places = {atom: place for place, atom in enumerate(self.memory)}
        order = tuple(sorted(range(len(self.axes)), key=lambda axis: min(places[atom] for atom in self.axes[axis])))
        return order if self.lies(order) else None

    def lies(self, order: Iterable[int]) -> bool:
        """Whether the axes lie in `order` already; those of size 1 lie anywhere."""
        return sized(self.atoms(order)) == sized(self.memory)

    def atoms(self, order: Iterable[int]) -> list[Atom]:
        return [atom for axis in order for atom in self.axes[axis]]

    def transposed(self, permutation: Sequence[int]) -> Layout:
        return replace(self, axes=tuple(self.axes[axis] for axis in permutation))

    def reshaped(self, shape: Sequence[int]) -> Layout | None:
        """The same bytes as a value of `shape`, in ONNX's order; None where the memory does not hold them so."""
        parts: dict[Atom, list[Atom]] = {}
        left = sized(atom for axis in self.axes for atom in axis)[::-1]
        axes: list[tuple[Atom, ...]] = []
        for size in shape:
            axis: list[Atom] = []
            while size > 1:
                if not left:
                    return None
                atom = left.pop()
                if size % atom.size:
                    if atom.size % size:
                        return None
                    outer, inner = Atom(size), Atom(atom.size // size)
                    parts[atom] = [outer, inner]
                    left.append(inner)
                    atom = outer
                axis.append(atom)
                size //= atom.size
            axes.append(tuple(axis))
        memory = [part for atom in sized(self.memory) for part in _parts(parts, atom)]
        return _with_units(axes, memory)


def sized(atoms: Iterable[Atom]) -> list[Atom]:
    """Those that are more than one."""
    return [atom for atom in atoms if atom.size > 1]


def _parts(parts: dict[Atom, list[Atom]], atom: Atom) -> list[Atom]:
    return [part for each in parts[atom] for part in _parts(parts, each)] if atom in parts else [atom]


def _with_units(axes: list[tuple[Atom, ...]], memory: list[Atom]) -> Layout:
    """Axes of size 1 have an atom, too, behind that of the axis before."""
    complete: list[tuple[Atom, ...]] = []
    for axis in axes:
        if not axis:
            axis = (Atom(1),)
            memory.insert(memory.index(complete[-1][-1]) + 1 if complete else 0, axis[0])
        complete.append(axis)
    return Layout(tuple(complete), tuple(memory))
