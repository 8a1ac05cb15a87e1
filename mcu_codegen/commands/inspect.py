"""mcu-codegen inspect: what a model file holds, and every reason for refusing it."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..formats import opening
from ..formats.found import NOT_SUPPORTED, Found
from ..formats.normalize import FILE_ONLY
from ..formats.refusals import Refusal
from ..graph import Tensor
from ..lower import lower, require_codes
from ..report import Table

_NAME = 40  # characters of a tensor's name in the tables; its end tells more than its start


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = "Nothing is compiled. Status 2: the file is refused."
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or ONNX in QDQ form")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def run(options: argparse.Namespace) -> int:
    """The exit status: 0 where the model is accepted."""
    data = opening.load(options.model)
    found = opening.examine(data, str(options.model))
    refusals = found.refusals + _refused_layers(found)
    if options.json:
        print(json.dumps(_to_dict(options.model, data, found, refusals), indent=2))
    else:
        print(_text(options.model, data, found, refusals))
    return 2 if refusals else 0


def _refused_layers(found: Found) -> list[Refusal]:
    """Why layers of what can be read cannot be computed as specified. They count as in every report."""
    refusals, tensors = [], found.graph.tensors
    for entry in found.graph.entries:
        for layer, operator in found.graph.layers(entry):
            if operator.kind not in FILE_ONLY:
                try:
                    lower(found.graph, operator, layer)
                except InputError as error:
                    refusals.append(Refusal("", str(error)))
        if not found.refusals and not refusals:
            for index in entry.inputs:
                try:
                    require_codes(tensors[index])
                except InputError as error:
                    refusals.append(Refusal(f"entry '{entry.name}'", str(error)))
    return refusals


def _to_dict(path: Path, data: bytes, found: Found, refusals: list[Refusal]) -> dict[str, Any]:
    graph = found.graph

    def described(indices: tuple[int, ...], tensors: list[Tensor]) -> list[dict[str, Any] | None]:
        return [None if index < 0 else _described(tensors[index]) for index in indices]

    return {
        "model": str(path),
        "bytes": len(data),
        "sha256": graph.sha256,
        "accepted": not refusals,
        "refusals": [{"where": each.where, "reason": each.reason} for each in refusals],
        "entries": [
            {
                "name": entry.name,
                "inputs": described(entry.inputs, graph.tensors),
                "outputs": described(entry.outputs, graph.tensors),
            }
            for entry in graph.entries
        ],
        "subgraphs": [
            [
                {
                    "kind": each.kind,
                    "inputs": described(each.inputs, found.tensors),
                    "outputs": described(each.outputs, found.tensors),
                }
                for each in listing
            ]
            for listing in found.listing
        ],
        "metadata": graph.metadata,
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "name": tensor.name,
        "type": tensor.dtype,
        "shape": list(tensor.shape),
        "constant": tensor.constant,
        "persistent": tensor.persistent,
        "scale": list(quantization.scale) if quantization else [],
        "zero_point": list(quantization.zero_point) if quantization else [],
        "axis": None if quantization is None or quantization.per_tensor else quantization.axis,
    }


def _text(path: Path, data: bytes, found: Found, refusals: list[Refusal]) -> str:
    graph, parts = found.graph, [f"{path}: {len(data):,} bytes, SHA-256 {found.graph.sha256}"]
    ends = [
        (entry.name, side, *_row(graph.tensors[index]))
        for entry in graph.entries
        for side, indices in (("input", entry.inputs), ("output", entry.outputs))
        for index in indices
        if index >= 0
    ]
    parts.append(Table(("entry", "", "tensor", "type", "shape", "scale", "zero point"), ends).text())
    for number, listing in enumerate(found.listing):
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(each.kind for each in listing).most_common())
        rows = []
        for position, each in enumerate(listing):
            constants = [found.tensors[i] for i in each.inputs if i >= 0 and found.tensors[i].constant]
            weights = ", ".join(f"{tensor.dtype} {_shape(tensor)}{_channels(tensor)}" for tensor in constants)
            output = _row(found.tensors[each.outputs[0]]) if each.outputs and each.outputs[0] >= 0 else ("",) * 5
            rows.append((str(position), each.kind, *output, weights))
        header = ("", "operator", "output", "type", "shape", "scale", "zero point", "constants")
        parts.append(f"subgraph {number}: {counts}\n\n{Table(header, rows).text()}")
    if graph.metadata:
        parts.append(f"metadata: {json.dumps(graph.metadata)}")
    parts.append(_verdict(refusals, found.supported))
    return "\n\n".join(parts)


def _row(tensor: Tensor) -> tuple[str, ...]:
    quantization = tensor.quantization
    name = tensor.name if len(tensor.name) <= _NAME else f"...{tensor.name[3 - _NAME :]}"
    if quantization is None or not quantization.per_tensor:
        return name, tensor.dtype, _shape(tensor), "", ""
    return name, tensor.dtype, _shape(tensor), f"{quantization.scale[0]:.6g}", str(quantization.zero_point[0])


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _channels(tensor: Tensor) -> str:
    quantization = tensor.quantization
    several = quantization is not None and not quantization.per_tensor
    return f" ({len(quantization.scale)} scales)" if quantization is not None and several else ""


def _verdict(refusals: list[Refusal], supported: tuple[str, ...]) -> str:
    """Reasons that are the same word for word are said once, for all that they concern."""
    if not refusals:
        return "accepted"
    places: dict[str, list[str]] = {}
    for each in refusals:
        places.setdefault(each.reason, []).append(each.where)
    lines = [f"refused, for {len(places)} reason{'s' if len(places) > 1 else ''}:"]
    lines += [f"  {', '.join(filter(None, where))}: {reason}".replace("  : ", "  ") for reason, where in places.items()]
    if NOT_SUPPORTED in places:
        lines.append(f"supported are {', '.join(supported)}")
    return "\n".join(lines)
