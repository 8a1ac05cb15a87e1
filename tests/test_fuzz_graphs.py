"""Random graphs on this host and on emulated cores; `make fuzz` runs two thousand."""

from __future__ import annotations

import warnings

import pytest
from fuzz_graphs import CORES, TOGETHER, differing

from mcu_codegen.emulate import toolchain


@pytest.mark.slow
@pytest.mark.parametrize("graphs", [range(20), range(TOGETHER, TOGETHER + 25)])
def test_random_graphs_on_cores(graphs: range) -> None:
    if not any(isinstance(compiler, toolchain.Toolchain) for compiler in toolchain.available().values()):
        pytest.skip(f"no cross compiler: {toolchain.available()}")
    found, absent = differing(graphs, CORES)
    for line in absent:
        warnings.warn(f"not run: {line}", stacklevel=1)
    assert not found
