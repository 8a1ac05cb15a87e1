"""The integer graph of a gated network becomes two: the network itself and its enrolment.

Both have the same tensors with the same scales. `mcu_codegen.users.gates` says what their metadata mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import fx

from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph

from ..models.groups import find_groups
from ..personalize.gated import GatedNetwork
from . import export


def model(graph: Graph, gated: GatedNetwork, traced: fx.GraphModule, names: Mapping[str, str], answers: int) -> Graph:
    """The network alone, with its gates in the metadata: what gives the last `answers` outputs of `graph`, which is
    that of `traced`, an `Enrolment` of `gated`; `names` are those of tensors by node (`export.to_graph`)."""
    images = {tensor.name for tensor in graph.tensors if len(tensor.shape) == 4}
    gates = []
    for group in find_groups(traced).groups:
        tensors = dict.fromkeys(names[node] for node in group.nodes if node in names)
        held = [name for name in tensors if name in images]
        gates.append({"name": group.name, "tensors": held, "size": gated.size})
    return export.part(graph, graph.main.outputs[-answers:], graph.name, graph.metadata | {"gates": gates})


def enrolment(graph: Graph, gated: GatedNetwork, model: Graph) -> Graph:
    """What gives the gates' logits, the first outputs of `graph`, for `model`, whose file is final and which learns
    its SHA-256 here."""
    model.sha256 = hashlib.sha256(tflite.write(model)).hexdigest()
    said = graph.main.outputs[: len(gated.groups)]
    absent = [
        np.clip(np.rint(table.detach().numpy() / graph.tensors[index].scale), -127, 127).astype(int).tolist()
        for table, index in zip(gated.absent, said, strict=True)
    ]
    about = {name: graph.metadata[name] for name in ("front_end", "seconds", "labels")}
    about["model"] = model.sha256[:16]
    about["absent"] = absent
    return export.part(graph, said, f"{graph.name}_enrol", about)
