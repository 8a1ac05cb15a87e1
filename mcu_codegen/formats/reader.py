"""A decoded ``.tflite`` to the entries of a graph: operators whose tensors exist and whose inputs were written before.

All reasons for a refusal are collected, not only the first. Whether an operator's shapes and scales fit each other is
for `lower` to say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import STATES, Entry, Graph, Operator, Tensor
from .fold import fold_constants, without_shape_inputs
from .found import NOT_SUPPORTED, Listed
from .metadata import METADATA, read_metadata
from .names import identifier
from .normalize import CONSTANT_ONLY, without_float_edges
from .operators import MAX_OPERANDS, OPERATORS, kind_of, listed, read_options
from .refusals import Refusals
from .rewrite import rewrite
from .tensors import Tensors, tensor_name
from .unsigned import without_unsigned_layers
from .variables import HANDLE, Variables
from .windows import join_windows

_UNREADABLE = "unreadable"
"""The type of a tensor that could not be read, which stays in its place."""


class Reader:
    """Reads a decoded model whose container is sound and whose contents are not trusted."""

    def __init__(self, model: dict[str, Any], source: Tensors, refusals: Refusals) -> None:
        """`model` is the decoded file, of which `source` reads the tensors."""
        self.model = model
        self.source = source
        self.tensors: list[Tensor] = []
        self.refusals = refusals
        self.variables = Variables({})
        self.listing: list[list[Listed]] = []  # by subgraph

    def graph(self, name: str, sha256: str) -> Graph:
        """The graph of what can be read; all of it where nothing is refused."""
        entries: list[Entry] = []
        names: set[str] = set()
        first = {position: self._first_values(position) for position in self._called_once()}
        for position, raw in enumerate(self.model["subgraphs"]):
            if position in first:
                self.listing.append(first[position])
                continue
            where = f"subgraph {position}" if position else ""
            with self.refusals.of(where):
                entries.append(self._entry(position, raw, names, where))
                names.add(entries[-1].name)
        metadata = {}
        with self.refusals.of():
            if METADATA in self.source.blocks:
                metadata = read_metadata(self.source.block(METADATA))
        return Graph(name, self.tensors, entries, metadata, sha256)

    def _entry(self, position: int, raw: dict[str, Any], names: set[str], where: str) -> Entry:
        """The entry of the subgraph at `position`; `names` are those of earlier entries."""
        before = len(self.refusals.found)
        self._read_tensors(raw, where)
        first = len(self.tensors) - len(raw["tensors"])
        inputs, outputs = (self._indices(raw[side], first, side) for side in ("inputs", "outputs"))
        if not inputs or not outputs or not raw["operators"]:
            raise InputError("inputs, outputs or operators are missing")
        name = identifier(raw["name"] or "entry") if position else "invoke"
        entry = Entry(f"{name}_{position}" if name in names else name, inputs, outputs, [])
        owners: dict[int, str] = {}  # what errors call an operator, by its output
        self.variables.enter()
        for operator, owner in self._operators(raw, first, where):
            with self.refusals.of(owner):
                parts = self.variables.resolved(self.tensors, operator)
                owners |= {part.outputs[0]: owner for part in parts}
                entry.operators += parts
        self.variables.finish(self.tensors, entry)
        fold_constants(self.tensors, entry)
        if len(self.refusals.found) == before:
            self._check_order(entry)
            entry = without_shape_inputs(self.tensors, without_float_edges(self.tensors, entry))
            self._check_order(entry)
            entry = without_unsigned_layers(self.tensors, entry, owners)
            for operator in entry.operators:
                if operator.kind in CONSTANT_ONLY:
                    self.refusals.add(owners[operator.outputs[0]], "depends on an input; constants alone are accepted")
        rewrite(self.tensors, entry, owners, self.refusals)
        if len(self.refusals.found) == before:
            join_windows(self.tensors, entry)
        return entry

    def _operators(self, raw: dict[str, Any], first: int, where: str) -> Iterator[tuple[Operator, str]]:
        """The operators of a subgraph that can be read, and what errors call them. Others are refused."""
        self.listing.append([])
        for index, each in enumerate(raw["operators"]):
            with self.refusals.of(where):
                listed_operator = self._listed(index, each, first)
                self.listing[-1].append(listed_operator)
                owner = f"{where}: {listed_operator.owner}" if where else listed_operator.owner
                with self.refusals.of(owner):
                    operator = self._operator(listed_operator, each)
                    self._check_inside(operator, each["intermediates"], raw["tensors"])
                    if all(self.tensors[i].dtype != _UNREADABLE for i in (*operator.inputs, *operator.outputs)):
                        yield operator, owner  # others are refused with their tensor

    def _called_once(self) -> list[int]:
        """Which subgraphs CALL_ONCE runs. They give variables their first values, and are no entries."""
        codes, last = self.model["operator_codes"], len(self.model["subgraphs"]) - 1
        called = (
            each["builtin_options"]["init_subgraph_index"]
            for raw in self.model["subgraphs"]
            for each in raw["operators"]
            if each["opcode_index"] < len(codes)
            and kind_of(codes[each["opcode_index"]]) == "CALL_ONCE"
            and "init_subgraph_index" in (each["builtin_options"] or {})
        )
        return sorted({position for position in called if 0 < position <= last})

    def _first_values(self, position: int) -> list[Listed]:
        """Note what the subgraph at `position` gives to variables; its operators, without their tensors, which are in
        no graph."""
        raw, where = self.model["subgraphs"][position], f"subgraph {position}"
        apart = Reader(self.model, self.source, self.refusals)
        variables = Variables(self.variables.initial)
        with self.refusals.of(where):
            apart._read_tensors(raw, where)
            for operator, owner in apart._operators(raw, 0, where):
                with self.refusals.of(owner):
                    variables.start(apart.tensors, operator)
        return [Listed(each.kind, (), (), each.owner) for listing in apart.listing for each in listing]

    def _read_tensors(self, raw: dict[str, Any], where: str) -> None:
        """The tensors of a subgraph, the last of `tensors`. An unreadable one is refused where something uses it."""
        used = {int(i) for each in (raw, *raw["operators"]) for side in ("inputs", "outputs") for i in each[side]}
        tensors = []
        for index, each in enumerate(raw["tensors"]):
            tensor = Tensor(tensor_name(each, index), (1,), _UNREADABLE)
            try:
                tensor = self.source.read(each, index)
            except InputError as error:
                if index in used:
                    self.refusals.add(where, str(error))
            unused = index not in used and tensor.dtype in (_UNREADABLE, HANDLE)
            tensors.append(Tensor(tensor.name, (1,), "uint8") if unused else tensor)
        shared = len(tensors) == len(self.tensors) and all(map(_same, tensors, self.tensors))
        self.tensors[0 if shared else len(self.tensors) :] = tensors

    def _indices(self, values: np.ndarray, first: int, owner: str) -> tuple[int, ...]:
        """Tensor indices of a subgraph as indices of the graph; -1 stays."""
        count = len(self.tensors) - first
        if len(values) > MAX_OPERANDS:
            raise InputError(f"{owner}: {len(values)} tensors; up to {MAX_OPERANDS} are accepted")
        wrong = values[(values < -1) | (values >= count)]
        if len(wrong):
            raise InputError(f"{owner}: tensor {wrong[0]} is wanted, {count} are there")
        return tuple(int(value) + first if value >= 0 else -1 for value in values)

    def _listed(self, position: int, raw: dict[str, Any], first: int) -> Listed:
        codes = self.model["operator_codes"]
        if raw["opcode_index"] >= len(codes):
            raise InputError(f"operator {position}: code {raw['opcode_index']} is wanted, {len(codes)} are there")
        kind = kind_of(codes[raw["opcode_index"]])
        owner = f"operator {position} ({kind})"
        inputs, outputs = (self._indices(raw[side], first, f"{owner} {side}") for side in ("inputs", "outputs"))
        named = (outputs or inputs)[:1]
        if named and named[0] >= 0:
            owner = f"operator {position} ({kind}, tensor '{self.tensors[named[0]].name}')"
        return Listed(kind, inputs, outputs, owner)

    def _operator(self, found: Listed, raw: dict[str, Any]) -> Operator:
        kind, inputs, outputs = found.kind, found.inputs, found.outputs
        if kind not in OPERATORS:
            raise InputError(NOT_SUPPORTED)
        row = OPERATORS[kind]
        least, most = row.inputs
        if not least <= len(inputs) <= most or -1 in inputs[:least]:
            raise InputError(f"inputs {raw['inputs'][: most + 1].tolist()}; {least} to {most} are accepted")
        fewest = min(1, row.outputs)
        if not fewest <= len(outputs) <= row.outputs or -1 in outputs:
            raise InputError(
                f"outputs {raw['outputs'][: row.outputs + 1].tolist()}; {fewest} to {row.outputs} accepted"
            )
        if kind not in ("QUANTIZE", "DEQUANTIZE"):  # float at the edges is for `without_float_edges` to judge
            self._refuse_float(inputs, outputs)
        states = tuple(inputs[place] if place < len(inputs) else -1 for place in STATES.get(kind, ()))
        if not all(index >= 0 and self.tensors[index].persistent for index in states):
            raise InputError(f"its state, input {' and '.join(map(str, STATES[kind]))}, is not a variable tensor")
        return Operator(kind, listed(inputs), (*outputs, *states), read_options(kind, raw))

    def _check_inside(self, operator: Operator, inside: np.ndarray, tensors: list[dict[str, Any]]) -> None:
        """What lies inside an operator, the last of what it lists, is on the scale of the output."""
        if not OPERATORS[operator.kind].intermediates or not len(inside) or not 0 <= inside[-1] < len(tensors):
            return
        held, output = tensors[inside[-1]]["quantization"], self.tensors[operator.outputs[0]]
        if held is None or not len(held["scale"]) or output.quantization is None:
            return
        found = (float(held["scale"][0]), int(held["zero_point"][0]) if len(held["zero_point"]) else 0)
        if found != (output.scale, output.zero_point):
            raise InputError(
                f"tensor '{tensor_name(tensors[inside[-1]], int(inside[-1]))}' has scale {found[0]} and zero point"
                f" {found[1]}, '{output.name}' {output.scale} and {output.zero_point}; equal ones are accepted"
            )

    def _refuse_float(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        tensors = [self.tensors[index] for index in (*inputs, *outputs) if index >= 0]
        real = next((tensor for tensor in tensors if tensor.dtype.startswith("float")), None)
        if real is not None:
            hybrid = any(tensor.dtype == "int8" and tensor.constant for tensor in tensors)
            model = "hybrid model, of int8 weights alone" if hybrid else "float model"
            raise InputError(
                f"tensor '{real.name}' is {real.dtype}: a {model}; convert it to int8 in full, with representative data"
            )

    def _check_order(self, entry: Entry) -> None:
        """Every tensor is written once, before it is read. Persistent tensors hold a value from the start."""
        inputs = entry.inputs
        written = set(inputs)
        if -1 in inputs or len(written) < len(inputs) or any(self.tensors[i].data is not None for i in inputs):
            raise InputError("an input is left out, listed twice, constant or persistent")
        for position, operator in enumerate(entry.operators):
            owner = f"operator {position} ({operator.kind})"
            for index in operator.inputs:
                if index >= 0 and index not in written and self.tensors[index].data is None:
                    raise InputError(f"{owner} reads tensor '{self.tensors[index].name}', which nothing wrote before")
            for index in operator.outputs:
                if index in written or self.tensors[index].constant:
                    raise InputError(f"{owner} writes tensor '{self.tensors[index].name}', which has its value already")
                written.add(index)
        for index in entry.outputs:
            if index not in written or index in inputs:
                raise InputError(f"output {'-1' if index < 0 else self.tensors[index].name!r}: no operator writes it")


def _same(first: Tensor, second: Tensor) -> bool:
    if dataclasses.replace(first, data=None) != dataclasses.replace(second, data=None):
        return False
    if first.data is None or second.data is None:
        return first.data is second.data
    return np.array_equal(first.data, second.data)
