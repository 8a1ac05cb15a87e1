"""Which lines of C a change of the generator changes: the same models through the code of BASE and of the working tree.

    python tests/replay.py BASE [--full]

The working tree writes the models once, as the files that a user has: gated models with a user each, twenty random
graphs, and the public models of ../shared where they are there. Both sides then run the same `mcu-codegen emit`
commands, so that a module may have another name in BASE. Prints the changed lines of each file, at most 40 without
--full, and their number. Status 0, also where lines differ: whether they should is for the reader to say.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gated_models import features, gated_model
from random_graphs import random_graph

from mcu_codegen import targets
from mcu_codegen.formats import tflite
from mcu_codegen.users.user import User

ROOT = Path(__file__).resolve().parents[1]
RANDOM_GRAPHS = 20
SHOWN = 40  # changed lines of a file

# Runs in a folder of its own with one side's code; a refusal is an output like any other.
_SIDE = """
import contextlib, io, json, sys
from pathlib import Path
from mcu_codegen import cli
code = Path(sys.argv[1])
assert code in Path(cli.__file__).parents, f"{cli.__file__} is not of {code}"
for arguments in json.loads(Path("commands.json").read_text()):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = cli.main(arguments)
        except SystemExit as left:
            status = left.code
        except Exception as error:
            status = repr(error)
    if status:
        folder = Path(arguments[-1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "refused").write_text(f"status {status}\\n{said.getvalue()}")
"""


def write_models(folder: Path) -> Iterator[list[str]]:
    """Put the models into `folder`; the `emit` commands that are run on them, each without target and output."""
    for number, (size, kernel) in enumerate([(4, (5, 4)), (2, (10, 4))]):
        model, enrolment = gated_model(number, size=size, kernel=kernel)
        names = [f"gated{number}.tflite", f"gated{number}.enrol.tflite"]
        for name, graph in zip(names, (model, enrolment), strict=True):
            (folder / name).write_bytes(tflite.write(graph))
        User.enrol(model, enrolment, features(model, 3), ["yes", "up"]).save(folder / f"gated{number}.user")
        user = ["--user", f"gated{number}.user"]
        yield from ([names[0]], [names[0], *user], [names[0], "--switchable"])
        yield [names[0], "--switchable", "--enrol", names[1], *user]
        yield [names[0], "--arena", "caller", "--selftest", "full"]
        yield from ([names[0], "--optimize", "size"], [names[0], "--weights", "int16"])
    for seed in range(RANDOM_GRAPHS):
        (folder / f"random{seed}.tflite").write_bytes(tflite.write(random_graph(seed)))
        yield [f"random{seed}.tflite"]
    for path in sorted((ROOT.parent / "shared" / "models").glob("*.tflite")):
        (folder / path.name).write_bytes(path.read_bytes())
        yield from ([path.name], [path.name, "--optimize", "size"], [path.name, "--weights", "int16"])


def emitted(code: Path, folder: Path) -> dict[str, list[str]]:
    """The lines of every file that the code in `code` writes for the commands in `folder`, by the file's name."""
    subprocess.run([sys.executable, "-c", _SIDE, str(code)], cwd=folder, env={"PYTHONPATH": str(code)}, check=True)
    out = folder / "out"
    return {str(path.relative_to(out)): path.read_text().splitlines() for path in out.rglob("*") if path.is_file()}


def changes(base: str) -> dict[str, list[str]]:
    """The changed lines, often none, of every file that BASE or the working tree writes, by the file's name."""
    with tempfile.TemporaryDirectory(prefix="replay-") as temporary:
        code, *sides = (Path(temporary, name) for name in ("code", "before", "after"))
        code.mkdir()
        archive = subprocess.run(["git", "archive", base], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(code)], input=archive, check=True)
        files = []
        for side, tree in zip(sides, (code, ROOT), strict=True):
            side.mkdir()
            commands = list(write_models(side))
            cores = [["--target", target] for target in targets.TARGETS]
            runs = [["emit", *each, *core] for each in commands for core in ([], *cores)]
            runs = [[*run, "-o", f"out/{'_'.join(run).replace('/', '_')}"] for run in runs]
            (side / "commands.json").write_text(json.dumps(runs))
            files.append(emitted(tree, side))
    before, after = files
    return {name: changed_lines(before.get(name, []), after.get(name, [])) for name in sorted({*before, *after})}


def changed_lines(before: list[str], after: list[str]) -> list[str]:
    """What a diff without context shows: lines of `before` after a minus, of `after` after a plus."""
    lines = [] if before == after else list(difflib.unified_diff(before, after, lineterm="", n=0))
    return [line for line in lines[2:] if not line.startswith("@@")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a revision of this repository")
    parser.add_argument("--full", action="store_true", help="print every changed line")
    options = parser.parse_args()
    if subprocess.run(
        ["git", "rev-parse", "-q", "--verify", f"{options.base}^{{commit}}"], cwd=ROOT, capture_output=True
    ).returncode:
        print(f"replay: BASE '{options.base}': not a revision of this repository", file=sys.stderr)
        return 2
    found = changes(options.base)
    differing = {name: changed for name, changed in found.items() if changed}
    for name, changed in differing.items():
        print(name)
        shown = changed if options.full else changed[:SHOWN]
        print("\n".join(f"  {line}" for line in shown))
        if len(shown) < len(changed):
            print(f"  ... {len(changed) - len(shown)} more")
    total = sum(map(len, differing.values()))
    print(f"replay against {options.base}: {total} lines of C differ, in {len(differing)} of {len(found)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
