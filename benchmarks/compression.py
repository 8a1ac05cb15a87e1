"""Compression measured: the same large network pruned in several ways, the same widths from scratch, and boards.

    python benchmarks/compression.py RUN --data FOLDER [--exclude on,off] [--views 30] [--instructions 635k,461k]
        [--ways attention,l1,random,scratch,taught] [--epochs 1] [--last-epochs 4] [--boards 5] [--cut 3M]
        [--beside RUN RUN] [--picture front.png] [--out build/compression]

Every row is one network for the labels of RUN, quantised after training: its costs on Cortex-M4, its int8 accuracy on
the test clips, and how far that is from the network pruned by attention to the same bound, with a 95 % interval over
clips (paired bootstrap). What is finished in --out is not done again, what was interrupted goes on.

`l1` and `random` go through the very rounds of `attention` with other filters; `scratch` and `taught` train the widths
that attention found from nothing, by the ordinary recipe, for as many epochs as all its rounds had, without and with
RUN as teacher. --beside are networks that were trained on the same task. --picture shows all rows over each cost.
"""

from __future__ import annotations

import argparse
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accuracy import trained
from front import Network, picture
from torch import Tensor, nn

from kws.compress import attention
from kws.compress.compress import compress
from kws.compress.costs import Board, Costs, number
from kws.compress.filters import Rank, without
from kws.compress.pruning import STATE, Goal, Method
from kws.compress.rounds import from_json
from kws.data import task_options
from kws.data.task import Task
from kws.evaluate import Result
from kws.models import name_with
from kws.models.groups import find_groups
from kws.models.narrow import narrowed
from kws.models.tracing import trace
from kws.quantization.quantize import quantize
from kws.training import checkpoint
from kws.training.checkpoint import BEST, Checkpoint
from kws.training.inference import features_of, logits, real, scores
from kws.training.recipe import Augmentation, Recipe, views
from mcu_codegen import files, targets
from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.prove.measure import measure
from mcu_codegen.report import Table

STEP = 0.4  # rounds as short as one epoch are few
QUICK = Method(step=0.7, epochs=1, last_epochs=1)  # for boards, where fitting is what counts
SEED = 0
_SAMPLE = 2048  # examples that filters are judged by


def l1(network: nn.Module, _features: Tensor) -> list[Tensor]:
    """The mean absolute weight of the filters that make a channel, relative to that of its group."""
    found = []
    for group in find_groups(trace(network)).groups:
        sizes = [network.get_parameter(f"{name}.weight").detach().abs().mean((1, 2, 3)) for name in group.sources]
        found.append(torch.stack([each / each.mean() for each in sizes]).mean(0))
    return found


def at_random(network: nn.Module, _features: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    return [torch.rand(group.channels, generator=generator) for group in find_groups(trace(network)).groups]


RANKS: dict[str, Rank] = {"attention": attention.of_filters, "l1": l1, "random": at_random}


@dataclass(frozen=True)
class Row:
    name: str
    model: str
    costs: Costs
    right: np.ndarray  # bool[test clips]


class Campaign:
    """One large network, one task, one board; results in `out`."""

    def __init__(self, held: Checkpoint, task: Task, board: Board, method: Method, views: int, out: Path) -> None:
        self.held, self.task, self.board, self.method, self.out = held, task, board, method, out
        self.augmentation = Augmentation(views)

    def pruned(self, name: str, goal: Goal, rank: Rank, method: Method) -> Checkpoint:
        folder = self.out / name
        if (folder / BEST).exists():
            return checkpoint.load(folder / BEST)
        resume = (folder / STATE).exists()
        parts = self.held, self.task, self.board, goal, method, SEED, folder, resume
        return compress(*parts, rank=rank, augmentation=self.augmentation)

    def from_scratch(self, name: str, model: str, epochs: int, teachers: Sequence[Checkpoint]) -> Checkpoint:
        recipe = replace(Recipe(), epochs=epochs, augmentation=self.augmentation)
        return trained(self.task, model, self.held.front_end, SEED, self.out / name, recipe, teachers)

    def row(self, name: str, held: Checkpoint) -> Row:
        graph = quantize(held, self.task).graph
        codes = features_of(self.task.testing, held.window)
        right = scores(graph, codes).argmax(1) == self.task.testing.labels
        board = replace(self.board, window=held.window)  # one beside may hear other features
        return Row(name, held.model, board.costs_of(graph, held.model), right)

    def at(self, instructions: int, ways: Sequence[str]) -> list[Row]:
        """One row for each of `ways`."""
        goal, found = Goal({"instructions": instructions}), []
        for way in (each for each in RANKS if each in ways):
            found.append(self.row(way, self.pruned(f"{way}-{instructions}", goal, RANKS[way], self.method)))
        folder = self.out / f"attention-{instructions}"
        rounds = from_json((folder / "rounds.json").read_text())[1:-1]
        epochs = self.method.epochs * len(rounds) + self.method.last_epochs
        for way, teachers in (("scratch", []), ("taught", [self.held])):
            if way in ways:
                name = f"{way}-{instructions}"
                found.append(self.row(way, self.from_scratch(name, found[0].model, epochs, teachers)))
        return found

    def cut(self, macs: int) -> Table:
        """What each way of choosing leaves of the validation accuracy when so many MACs are left at once, untrained."""
        network, spec = self.held.network(), self.held.window.front_end
        examples = views(self.task, self.held.window, self.augmentation, SEED).epoch(0, SEED)[0][:_SAMPLE]
        codes, labels = features_of(self.task.validation, self.held.window), self.task.validation.labels
        rows = []
        for way, rank in RANKS.items():
            scores_of = rank(network, real(examples, spec))

            def fits(count: int, held: list[Tensor] = scores_of) -> bool:
                widths = [len(each) for each in without(held, count, self.method.granule)]
                return self.board.fits(name_with(self.held.model, widths), {"macs": macs})

            kept = without(scores_of, bisect_left(range(sum(map(len, scores_of))), True, key=fits), self.method.granule)
            predicted = logits(narrowed(network, kept), codes, spec).argmax(1).numpy()
            right = Result.of(self.task.labels, labels, predicted).balanced
            rows.append((way, name_with(self.held.model, [len(each) for each in kept]), f"{right:.2%}"))
        return Table(("", "network", "validation accuracy"), rows)

    def boards(self, count: int) -> Table:
        """Random budgets: what came out, measured anew, or why it was refused."""
        rng, rows = np.random.default_rng(SEED), []
        for place in range(count):
            bounds = {
                "flash": int(np.exp(rng.uniform(np.log(12e3), np.log(128e3)))),
                "ram": int(np.exp(rng.uniform(np.log(4e3), np.log(24e3)))),
                "instructions": int(np.exp(rng.uniform(np.log(1e5), np.log(4e6)))),
            }
            asked = [f"{each:,}" for each in bounds.values()]
            try:
                held = self.pruned(f"board-{place}", Goal(bounds), attention.of_filters, QUICK)
            except InputError as error:
                rows.append((*asked, "-", "-", "-", f"refused: {error}"))
                continue
            found = measure(quantize(held, self.task).graph, self.board.target, self.board.toolchain)
            taken = {name: getattr(found, name) for name in bounds}
            kept = all(taken[name] <= most for name, most in bounds.items())
            rows.append(
                (*asked, *(f"{each:,}" for each in taken.values()), f"{held.model} {'fits' if kept else 'DOES NOT'}")
            )
        return Table(("flash", "RAM", "instructions", "its flash", "its RAM", "its instructions", ""), rows)


def table(rows: Sequence[Row], first: Row) -> Table:
    lines = [
        (
            row.name,
            row.model,
            *(f"{value:,}" for value in asdict(row.costs).values()),
            f"{row.right.mean():.2%}",
            _difference(row.right, first.right) if row is not first else "",
        )
        for row in rows
    ]
    return Table(("", "network", "params", "MACs", "instructions", "flash", "RAM", "int8", "beside attention"), lines)


def on_front(row: Row) -> Network:
    costs = {"instructions": row.costs.instructions, "flash": row.costs.flash, "RAM": row.costs.ram}
    return Network(row.model, [float(row.right.mean())], row.costs.macs, costs)


def _difference(one: np.ndarray, other: np.ndarray) -> str:
    """Points by which `one` is better, with its 95 % interval over clips."""
    each = one.astype(float) - other
    draws = np.random.default_rng(SEED).integers(len(each), size=(2000, len(each)))
    low, high = np.quantile(100 * each[draws].mean(1), (0.025, 0.975))
    return f"{100 * each.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    task_options.configure_again(parser)
    parser.add_argument(
        "--views", type=int, default=Augmentation.views, help="those of RUN's training are in the cache"
    )
    parser.add_argument("--instructions", type=task_options.word_list, default=["635k"], metavar="A,B")
    parser.add_argument("--ways", type=task_options.word_list, default=[*RANKS, "scratch", "taught"], metavar="A,B")
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="of each round (default: %(default)s)")
    parser.add_argument("--last-epochs", type=int, default=4, metavar="N", help="after the last (default: %(default)s)")
    parser.add_argument("--cut", metavar="MACS", help="only cut to so many MACs, train nothing")
    parser.add_argument("--boards", type=int, default=0, metavar="N")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], metavar="RUN")
    parser.add_argument("--picture", type=Path, metavar="PNG")
    parser.add_argument("--out", type=Path, default=Path("build/compression"))
    options = parser.parse_args()
    held = checkpoint.load(checkpoint.of_run(options.run))
    task = task_options.again(options, held.labels, held.window.length)
    board = Board(targets.find("cortex-m4"), toolchain.choose(), len(held.labels), held.window)
    method = Method(step=STEP, epochs=options.epochs, last_epochs=options.last_epochs)
    campaign = Campaign(held, task, board, method, options.views, options.out)
    if options.cut:
        print(campaign.cut(number("macs", options.cut)).text())
        return
    others = {"large network": options.run} | {each.name: each for each in options.beside}
    pruned: list[Row] = []
    beside = [campaign.row(name, checkpoint.load(checkpoint.of_run(path))) for name, path in others.items()]
    for text in options.instructions:
        found = campaign.at(number("instructions", text), options.ways)
        print(table([*beside, *found], found[0]).text(), flush=True)
        pruned += found
    if options.picture:
        files.write_whole(options.picture, picture([on_front(row) for row in (*beside, *pruned)], board.target.name))
    if options.boards:
        print(campaign.boards(options.boards).text())


if __name__ == "__main__":
    main()
