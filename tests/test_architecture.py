"""The dependency rule of docs/architecture.md: arrows run one way."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("kws", "mcu_codegen")
    for path in sorted((ROOT / package).rglob("*.py"))
}
GROUND = ("graph", "arithmetic", "errors")
# what may be imported below each of these; a room may always use itself
BELOW = {
    "mcu_codegen.arithmetic": (),
    "mcu_codegen.errors": (),
    "mcu_codegen.graph": ("errors",),
    "mcu_codegen.lower": GROUND,
    "mcu_codegen.memory": GROUND,
    "mcu_codegen.formats": GROUND,
    "mcu_codegen.execute": (*GROUND, "lower", "formats", "files", "emulate"),
    "mcu_codegen.emit.portable": (*GROUND, "lower", "memory", "emit", "listen.frontend"),
}


def imported(module: str) -> set[str]:
    """Every module that a file names, inside functions too; of this repository the file, of others the top package."""
    path, found = FILES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            found.update(name if (name := f"{source}.{alias.name}") in FILES else source for alias in node.names)
    return found


GRAPH = {module: imported(module) for module in FILES}


def test_no_circle() -> None:
    try:
        TopologicalSorter({module: names & FILES.keys() for module, names in GRAPH.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other in a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", [module for module in FILES if module.startswith("mcu_codegen")])
def test_the_compiling_side_stands_alone(module: str) -> None:
    assert not {name.split(".")[0] for name in GRAPH[module]} & {"kws", "torch", "torchaudio", "nncf"}


@pytest.mark.parametrize("room", BELOW)
def test_no_arrow_upwards(room: str) -> None:
    inside = {module for module in FILES if module == room or module.startswith(f"{room}.")}
    allowed = {f"mcu_codegen.{name}" for name in BELOW[room]} | inside | {"mcu_codegen"}
    for module in inside:
        for name in GRAPH[module] & FILES.keys():
            assert name in allowed or any(name.startswith(f"{each}.") for each in allowed - {"mcu_codegen"}), module
