"""Operators that pick rows and columns of their input, or something between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph import Graph, Operator, Tensor
from .common import constant_integers, int8_tensor
from .movement import unchanged


@dataclass(frozen=True)
class Gather:
    """GATHER and RESIZE_NEAREST_NEIGHBOR: out[o, i, j, n] = in[o, rows[i], columns[j], n], where the input is
    (outer, height, width, inner)."""

    outer: int
    height: int
    width: int
    inner: int
    rows: np.ndarray  # int64
    columns: np.ndarray  # int64


@dataclass(frozen=True)
class Interpolation:
    """Along one axis, each output lies between two inputs, the second with `weight` of 1024."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Bilinear:
    """RESIZE_BILINEAR of images (outer, height, width, inner): sums of four codes with weights of 2^20 in all, rounded
    half away from zero."""

    outer: int
    height: int
    width: int
    inner: int
    rows: Interpolation
    columns: Interpolation


def lower_gather(graph: Graph, operator: Operator) -> Gather:
    source, output = unchanged(graph, operator)
    indices = constant_integers(graph, operator.inputs[1], "indices")
    axis, rank = operator.options.axis, len(source.shape)
    if not -rank <= axis < rank:
        raise InputError(f"tensor '{source.name}' {source.shape}: there is no axis {axis}")
    axis %= rank
    before, after = source.shape[:axis], source.shape[axis + 1 :]
    if np.any((indices < 0) | (indices >= source.shape[axis])) or output.shape != (*before, *indices.shape, *after):
        raise InputError(
            f"tensor '{output.name}' {output.shape}: indices {indices.reshape(-1)[:9].tolist()} along axis {axis} of"
            f" {source.shape} do not give it"
        )
    return Gather(
        int(np.prod(before)), source.shape[axis], 1, int(np.prod(after)), indices.reshape(-1), np.zeros(1, int)
    )


def lower_resize_nearest(graph: Graph, operator: Operator) -> Gather:
    source, output = _resized(graph, operator)
    rows, columns = (
        _nearest(source.shape[axis], output.shape[axis], operator.options.align_corners, _centers(operator))
        for axis in (1, 2)
    )
    images, height, width, channels = source.shape
    return Gather(images, height, width, channels, rows, columns)


def lower_resize_bilinear(graph: Graph, operator: Operator) -> Bilinear:
    source, output = _resized(graph, operator)
    int8_tensor(graph, operator.inputs[0])
    rows, columns = (
        _interpolation(source.shape[axis], output.shape[axis], operator.options.align_corners, _centers(operator))
        for axis in (1, 2)
    )
    if rows.first.max() >= source.shape[1] or columns.first.max() >= source.shape[2]:
        # so far is the reference's step off where it is small
        raise InputError(f"tensor '{output.name}' {output.shape}: too large for an image of {source.shape[1:3]}")
    images, height, width, channels = source.shape
    return Bilinear(images, height, width, channels, rows, columns)


def _centers(operator: Operator) -> bool:
    half: bool = operator.options.half_pixel_centers
    return half


def _resized(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor]:
    source, output = unchanged(graph, operator)
    size = tuple(constant_integers(graph, operator.inputs[1], "size").reshape(-1).tolist())
    if len(source.shape) != 4 or output.shape != (source.shape[0], *size, source.shape[-1]):
        raise InputError(f"tensor '{output.name}' {output.shape}: {source.shape} resized to {size} does not give it")
    if operator.kind == "RESIZE_BILINEAR" and operator.options.align_corners and _centers(operator):
        raise InputError(f"tensor '{output.name}': corners aligned, or half pixel centers; one of them is accepted")
    return source, output


def _nearest(size: int, output: int, align: bool, half_pixel: bool) -> np.ndarray:
    """In float32, as the reference computes it."""
    aligned = align and output > 1
    scale = np.float32(size - 1) / np.float32(output - 1) if aligned else np.float32(size) / np.float32(output)
    place = (np.arange(output).astype(np.float32) + np.float32(0.5 if half_pixel else 0)) * scale
    nearest = np.floor(place.astype(np.float64) + 0.5) if align else np.floor(place)
    return np.clip(nearest.astype(np.int64), 0, size - 1)


def _interpolation(size: int, output: int, align: bool, half_pixel: bool) -> Interpolation:
    """In steps of 1/1024, as the reference for integers computes it."""
    aligned = align and output > 1
    whole, parts = (size - 1, output - 1) if aligned else (size, output)
    step = (1024 * whole + parts // 2) // parts
    place = np.arange(output, dtype=np.int64) * step + (step // 2 - 512 if half_pixel else 0)
    first = np.maximum(place // 1024, 0)
    second = np.minimum((place + 1023) // 1024, size - 1)
    return Interpolation(first, second, place - 1024 * first)
