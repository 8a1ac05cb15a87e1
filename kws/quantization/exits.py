"""What an integer network with early exits needs beside its layers: room to learn, and thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcu_codegen.graph import Graph

from ..personalize import thresholds
from ..training.inference import exit_scores


def stop(graph: Graph, costs: Sequence[float], codes: np.ndarray, labels: np.ndarray) -> None:
    """Write into the metadata of `graph` how sure each early exit must be, chosen on int8 features [N, frames,
    coefficients] with labels int[N]. `costs` are those of stopping at each exit."""
    graph.metadata["exits"] = {"thresholds": thresholds.choose(exit_scores(graph, codes), labels, costs)}
