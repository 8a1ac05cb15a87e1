"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: the phases of an image as images of a batch, and back."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import constant_integers
from .movement import Piece, Rearrange, Walk, strides_of, unchanged


def lower_space_to_batch(graph: Graph, operator: Operator) -> Rearrange:
    """The phases of an image as images of a batch: those of its rows before those of its columns, then the images."""
    source, output = unchanged(graph, operator)
    (block, pads), grown = _blocks(graph, operator, source, output), list(source.shape)
    for axis in range(len(block)):
        grown[axis + 1] += int(pads[axis].sum())
    _check_blocks(source, output, block, tuple(grown), output.shape)
    return _phases(block, pads, source.shape, output.shape, output.zero_point)


def lower_batch_to_space(graph: Graph, operator: Operator) -> Rearrange:
    source, output = unchanged(graph, operator)
    (block, crops), grown = _blocks(graph, operator, source, output), list(output.shape)
    for axis in range(len(block)):
        grown[axis + 1] += int(crops[axis].sum())
    _check_blocks(source, output, block, tuple(grown), source.shape)
    there = _phases(block, crops, output.shape, source.shape, None)
    pieces = tuple(Piece(0, piece.shape, piece.target, piece.source) for piece in there.pieces)
    return Rearrange(pieces, output.elements)


def _blocks(graph: Graph, operator: Operator, source: Tensor, output: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(block sizes, what is added or cut before and after) of the axes behind the batch."""
    block, edges = (
        constant_integers(graph, operator.inputs[number], what) for number, what in ((1, "block"), (2, "edges"))
    )
    fits = block.ndim == 1 and len(block) < len(source.shape) and edges.shape == (len(block), 2)
    if not fits or len(source.shape) != len(output.shape) or np.any(block < 1) or np.any(edges < 0):
        raise InputError(
            f"tensor '{source.name}' {source.shape}: block {block.reshape(-1)[:9].tolist()} with edges"
            f" {edges.reshape(-1)[:9].tolist()}; sizes from 1 on and two edges from 0 on for each are accepted"
        )
    return block, edges


def _check_blocks(
    source: Tensor, output: Tensor, block: np.ndarray, image: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    """`image` in blocks must give `batch`."""
    count = len(block)
    whole = all(size % step == 0 for size, step in zip(image[1 : 1 + count], block, strict=True))
    inner = tuple(int(size // step) for size, step in zip(image[1 : 1 + count], block, strict=True))
    if not whole or batch != (image[0] * int(np.prod(block)), *inner, *image[1 + count :]):
        raise InputError(
            f"tensor '{output.name}' {output.shape}: blocks {block.tolist()} of {source.shape} do not give it"
        )


def _phases(
    block: np.ndarray,
    edges: np.ndarray,
    image: tuple[int, ...],
    batch: tuple[int, ...],
    fill: int | None,
) -> Rearrange:
    """From an image to a batch of its phases; `edges` lie around the image and hold `fill`."""
    image_strides, batch_strides = strides_of(image), strides_of(batch)
    count = len(block)
    pieces = []
    for number, phase in enumerate(np.ndindex(*block.tolist())):
        # along each axis, row j of the phase is row j * block + phase - before of the image
        first = [max(0, -(-(int(e[0]) - p) // int(b))) for p, b, e in zip(phase, block, edges, strict=True)]
        starts = [j * int(b) + p - int(e[0]) for j, p, b, e in zip(first, phase, block, edges, strict=True)]
        sizes = [max(0, -(-(image[a + 1] - start) // int(block[a]))) for a, start in enumerate(starts)]
        if 0 in sizes:
            continue
        shape = (image[0], *sizes, *image[1 + count :])
        source = Walk(
            sum(start * image_strides[a + 1] for a, start in enumerate(starts)),
            (
                image_strides[0],
                *(int(block[a]) * image_strides[a + 1] for a in range(count)),
                *image_strides[1 + count :],
            ),
        )
        target = Walk(
            number * image[0] * batch_strides[0] + sum(j * batch_strides[a + 1] for a, j in enumerate(first)),
            batch_strides,
        )
        pieces.append(Piece(0, shape, source, target))
    covered = sum(int(np.prod(piece.shape)) for piece in pieces)
    elements = int(np.prod(batch))
    return Rearrange(tuple(pieces), elements, fill if covered < elements else None)
