"""Resize: rows and columns picked, or four neighbours weighted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..graph import Gather, Resize
from .onnx_builder import Builder
from .onnx_file import Node
from .onnx_values import Codes, Value, codes_of
from .onnx_windows import check_image, image, image_layout

_LINEAR = {
    "half_pixel": Resize(half_pixel_centers=True),
    "pytorch_half_pixel": Resize(half_pixel_centers=True),
    "align_corners": Resize(align_corners=True),
    "asymmetric": Resize(),
}

_ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(build: Builder, node: Node, values: Sequence[Value | None]) -> Value:
    if node.opset < 11:
        raise InputError(f"of operator set {node.opset}; from 11 on it is accepted")
    mode, way = node.text("mode", "nearest"), node.text("coordinate_transformation_mode", "half_pixel")
    rounding = node.text("nearest_mode", "round_prefer_floor")
    if (
        mode not in ("nearest", "linear")
        or way not in _LINEAR
        or rounding not in _ROUNDINGS
        or node.integer("antialias", 0)
    ):
        raise InputError(f"mode {mode}, {way}, {rounding}; nearest and linear by {', '.join(_LINEAR)} are accepted")

    if mode == "linear" and not isinstance(values[0], Codes):
        codes_of(node, values, 0)  # what is quantised or clamped behind is another value

    def shape_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        check_image(shape)
        return _target(node, values, shape)

    def move(codes: Codes) -> Codes:
        target = shape_of(codes.shape)
        here = image(build, node, codes)
        if mode == "nearest":
            for number, (size, wanted) in enumerate(zip(codes.shape[2:], target[2:], strict=True), start=1):
                if size != wanted:
                    rows = _picked(way, rounding, size, wanted)
                    here = _gathered(build, node, here, number, rows)
        else:
            sizes = (*target[2:], 1)[:2]
            both, shape = build.integers(f"{node.name}/size", sizes), (target[0], *sizes, target[1])
            here = build.operator(node, "RESIZE_BILINEAR", (here, both), shape, codes.quantization, _LINEAR[way])
        return Codes(here, image_layout(target), codes.quantization, codes.unsigned)

    return build.moved(node, values[0], move, shape_of, permutes=mode == "nearest")


def _target(node: Node, values: Sequence[Value | None], shape: tuple[int, ...]) -> tuple[int, ...]:
    """By scales or by sizes of all axes; images and channels stay."""
    scales, sizes = ((*values, None, None, None, None)[number] for number in (2, 3))
    if isinstance(sizes, np.ndarray) and sizes.shape == (len(shape),) and sizes.dtype.kind in "iu":
        target = tuple(int(size) for size in sizes)
    elif isinstance(scales, np.ndarray) and scales.shape == (len(shape),) and scales.dtype == np.float32:
        wanted = np.floor(np.array(shape, np.float64) * scales)
        target = tuple(int(size) for size in np.nan_to_num(np.clip(wanted, 0, 65535)))
        if any(size != n * float(scale) for size, n, scale in zip(target, shape, scales, strict=True)):
            raise InputError(f"scales {scales.tolist()} of {shape} give no whole sizes; such are accepted")
    else:
        raise InputError("neither constant scales nor constant sizes of all axes")
    if target[:2] != shape[:2] or not all(1 <= size <= 65535 for size in target):
        raise InputError(f"{shape} becomes {target}; other rows and columns are accepted")
    return target


def _picked(way: str, rounding: str, size: int, wanted: int) -> list[int]:
    """For every row of the output, that of the input."""
    at = np.arange(wanted, dtype=np.float64)
    if way == "asymmetric":
        at = at * size / wanted
    elif way == "align_corners":
        at = at * (size - 1) / max(wanted - 1, 1)
    elif way == "pytorch_half_pixel" and wanted == 1:
        at = at * 0
    else:
        at = (at + 0.5) * size / wanted - 0.5
    rows: list[int] = np.clip(_ROUNDINGS[rounding](at), 0, size - 1).astype(int).tolist()
    return rows


def _gathered(build: Builder, node: Node, source: int, axis: int, rows: list[int]) -> int:
    shape = list(build.tensors[source].shape)
    shape[axis] = len(rows)
    numbers = build.integers(f"{node.name}/rows", rows)
    return build.operator(node, "GATHER", (source, numbers), shape, build.quantization(source), Gather(axis))
