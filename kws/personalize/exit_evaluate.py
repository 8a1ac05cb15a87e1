"""The table of exits: every way of making them one person's, on speakers never heard in training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from mcu_codegen import files
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.report import Table
from mcu_codegen.users.exits import exits_of
from mcu_codegen.users.learning import NO_LABEL, Learner, Utterances
from mcu_codegen.users.regression import Rates

from ..data import task as task_options
from ..data.task import Examples, Task
from ..models.exits import ExitNetwork
from ..quantization import exits as quantized
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.inference import exit_scores, features_of, outputs, window_of
from . import exit_plots, thresholds
from .exit_comparison import FACTORY, FULL, LABELLED, UNLABELLED, Subject, compare
from .exit_training import EXITS
from .float_heads import FloatHead, codes_of
from .protocol import Speakers, Trial, interval, per_speaker, worst_tenth

BUFFERS = (10, 20, 30)  # utterances
SETS = 10  # of half of the words, for users who never say the others
LEAST = 6  # clips that a speaker is judged by, at least
FEW = 10  # utterances of a user of half of the words


@dataclass(frozen=True)
class Row:
    """One way: by speaker, averaged over draws and seeds."""

    accuracy: np.ndarray
    macs: float
    exit: float


@dataclass(frozen=True)
class Judgement:
    """One kind of users."""

    title: str
    rows: dict[str, Row]

    def text(self) -> str:
        """For a terminal."""
        full = self.rows[FULL].accuracy
        lines = [
            (
                name,
                f"{row.macs:.0%}",
                f"1/{1 / row.macs:.2f}",
                f"{row.exit:.2f}",
                f"{row.accuracy.mean():.2%}",
                f"{np.median(row.accuracy):.2%}",
                f"{worst_tenth(row.accuracy):.2%}",
                f"{np.mean(row.accuracy < full):.0%}",
                f"{100 * (row.accuracy - full).mean():+.2f} [{_interval(row.accuracy - full)}]",
                f"{100 * (row.accuracy - full).max():+.1f}",
            )
            for name, row in self.rows.items()
        ]
        columns = ("", "MACs", "", "exit", "mean", "median", "worst 10 %", "harmed", "this - full, points", "most")
        own = self.rows[LABELLED].accuracy
        pairs = [
            f"own, labelled - {name}: {100 * (own - self.rows[name].accuracy).mean():+.2f}"
            f" [{_interval(own - self.rows[name].accuracy)}]"
            for name in self.rows
            if name not in (FULL, LABELLED)
        ]
        return f"{self.title}: {len(full)} speakers\n{Table(columns, lines).text()}\n" + "\n".join(pairs)

    def summary(self) -> dict[str, object]:
        """For machines."""
        return {
            "title": self.title,
            "rows": {name: asdict(row) | {"accuracy": row.accuracy.tolist()} for name, row in self.rows.items()},
        }


def _interval(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{100 * low:+.2f}, {100 * high:+.2f}"


def integer(path: Path, task: Task, examples: Examples) -> Subject:
    """From a .tflite of `kws quantize RUN/exits.pt`."""
    graph = tflite.read(path)
    found, window = exits_of(graph), window_of(graph)
    if not found:
        raise InputError(f"{path}: no exits; a model made from an {EXITS} of `kws train --exits` is accepted")
    codes = features_of(examples, window)[:, None, ..., None]
    parts = [
        Utterances.of(graph, codes[at : at + 256], [NO_LABEL] * len(codes[at : at + 256]))
        for at in range(0, len(codes), 256)
    ]
    features = zip(*(part.features for part in parts), strict=True)
    clips = Utterances(
        tuple(np.concatenate(each) for each in features),
        np.concatenate([part.scores for part in parts]),
        np.full(len(codes), NO_LABEL),
        len(codes),
    )
    costs = graph.metadata["exits"]["costs"]
    validation = exit_scores(graph, features_of(task.validation, window))
    choose = cache(partial(thresholds.choose, validation, task.validation.labels, costs))
    return Subject(clips, Learner.of(graph), tuple(each.threshold for each in found), np.array(costs), choose)


def _held(path: Path) -> Checkpoint:
    """The checkpoint with exits of a run, or of such a file itself."""
    return checkpoint.load(path if path.suffix == ".pt" else path / EXITS)


def real(path: Path, task: Task, examples: Examples) -> Subject:
    """From the checkpoint of `kws train --exits`, in real numbers."""
    held = _held(path)
    network = held.network()
    if not isinstance(network, ExitNetwork):
        raise InputError(f"{path}: no exits; an --out folder of `kws train --exits` is accepted")
    spec = held.window.front_end
    seen: list[list[np.ndarray]] = [[] for _ in network.heads]
    hooks = [
        head[-1].register_forward_pre_hook(lambda _layer, given, kept=kept: kept.append(given[0].numpy()))
        for head, kept in zip(network.heads, seen, strict=True)
    ]
    last = outputs(network, features_of(examples, held.window), spec)[-1]
    for hook in hooks:
        hook.remove()
    clips = Utterances(
        tuple(np.concatenate(each) for each in seen),
        codes_of(last.numpy()),
        np.full(len(last), NO_LABEL),
        len(last),
    )
    answers = outputs(network, features_of(task.validation, held.window), spec)
    validation = np.stack([codes_of(each.numpy()) for each in answers])
    window = held.window.frames(examples.audio.shape[1])
    costs = network.costs(window, spec.coefficients)
    choose = cache(partial(thresholds.choose, validation, task.validation.labels, costs))
    heads = []
    for head in network.heads:
        weights, bias = (head[-1].get_parameter(name).detach().double().numpy() for name in ("weight", "bias"))
        heads.append(FloatHead(weights, bias, quantized.DEFAULTS.rate))
    constants = quantized.constants(
        [Rates((), ())] * len(heads), validation, task.validation.labels, costs, quantized.DEFAULTS
    )
    return Subject(clips, Learner(tuple(heads), constants), tuple(choose()), np.array(costs), choose)


def judge(title: str, subjects: Sequence[Subject], labels: np.ndarray, trials: Sequence[Trial]) -> Judgement:
    """All ways on `trials`, averaged over the seeds' subjects."""
    outcomes = [compare(subject, labels, trials) for subject in subjects]

    def mean(name: str, field: str) -> np.ndarray:
        return np.mean([per_speaker(trials, getattr(outcome[name], field)) for outcome in outcomes], axis=0)

    return Judgement(
        title,
        {
            name: Row(mean(name, "accuracy"), float(mean(name, "macs").mean()), float(mean(name, "exit").mean()))
            for name in outcomes[0]
        },
    )


def evaluate(
    subjects: Sequence[Subject], task: Task, examples: Examples, speakers: Speakers, draws: int
) -> dict[str, Judgement]:
    """Users of all words with buffers of several sizes, and users who never say half of the words."""
    results = {}
    for count in BUFFERS:
        trials = speakers.voice(count, draws, LEAST, np.random.default_rng(count))
        if len({trial.speaker for trial in trials}) > 1:
            results[f"all-{count}"] = judge(f"all words, {count} utterances", subjects, examples.labels, trials)
    rng, words = np.random.default_rng(0), np.arange(2, len(task.labels))
    sets = [np.sort(rng.permutation(words)[: len(words) // 2]).tolist() for _ in range(SETS)]
    trials = speakers.stream(FEW, sets, LEAST, rng)
    if len({trial.speaker for trial in trials}) > 1:
        title = f"{len(words) // 2} of {len(words)} words and no others, {FEW} utterances"
        results["few"] = judge(title, subjects, examples.labels, trials)
    if not results:
        raise InputError(f"{task.name}: no two speakers with {BUFFERS[0] + LEAST} clips; they are needed")
    return results


def configure(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--exits",
        action="store_true",
        help="MODEL is an --out folder of `kws train --exits` (in float), or an int8 model made from it; or one a seed",
    )


def run(options: argparse.Namespace) -> int:
    """`kws evaluate MODEL... --exits`: prints the tables, and writes JSON and pictures into --out."""
    first = options.model[0]
    integers = first.suffix == ".tflite"
    labels = tflite.read(first).metadata.get("labels", []) if integers else _held(first).labels
    task = task_options.again(options, labels)
    examples: Examples = getattr(task, options.split)
    subjects = [(integer if integers else real)(each, task, examples) for each in options.model]
    speakers = Speakers(examples, task.labels, options.keywords, options.each)
    results = evaluate(subjects, task, examples, speakers, options.draws)
    summary = {name: result.summary() for name, result in results.items()}
    print(json.dumps(summary) if options.json else "\n\n".join(result.text() for result in results.values()))
    if options.out:
        files.write_all(options.out, {"exits.json": json.dumps(summary, indent=2) + "\n", **_pictures(results)})
    return 0


def _pictures(results: Mapping[str, Judgement]) -> dict[str, bytes]:
    pictures: dict[str, bytes] = {}
    for key, result in results.items():
        points = {name: (row.macs, float(row.accuracy.mean())) for name, row in result.rows.items()}
        pictures[f"macs-{key}.png"] = exit_plots.over_macs(points, result.title)
    buffers = [count for count in BUFFERS if f"all-{count}" in results]
    if buffers:
        start = results[f"all-{buffers[0]}"].rows[FACTORY].exit
        pictures["depth.png"] = exit_plots.depth(
            {
                name: [(0, start), *((count, results[f"all-{count}"].rows[name].exit) for count in buffers)]
                for name in (LABELLED, UNLABELLED)
            }
        )
    return pictures
