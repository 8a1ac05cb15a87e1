"""kws evaluate MODEL --stream: misses over false accepts an hour, and the settings of a decision chosen by them."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mcu_codegen import files
from mcu_codegen.commands import listening_options
from mcu_codegen.errors import InputError
from mcu_codegen.formats import tflite
from mcu_codegen.graph import Graph
from mcu_codegen.listen.decision import Decision, keywords
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.report import Table

from ..data.audio import progress
from ..data.task_options import corpus_again
from ..quantization.quantize import enrolment_of
from ..training.inference import length_of
from . import material, plots, recording, scenes
from .hearing import Heard, Listener, left_out
from .recording import Recording
from .settings import Point, Trial

_LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)  # false accepts an hour, rows of the table


def configure(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--stream",
        type=Path,
        nargs="*",
        metavar="AUDIO",
        help="listen to these files, each with a label track NAME.txt beside it (start, end, word in lines, as Audacity"
        " exports them), or to hours made of --data: misses and false accepts an hour",
    )
    parser.add_argument(
        "--background", type=Path, nargs="+", default=[], metavar="FOLDER", help="sounds without the words, to mix in"
    )
    parser.add_argument("--rooms", type=Path, metavar="FOLDER", help="impulse responses (default: generated)")
    parser.add_argument("--hours", type=float, default=3.0, metavar="H", help="to make (default: %(default)s)")
    parser.add_argument("--stride-hops", type=int, metavar="N", help="hops between inferences (default: the model's)")
    listening_options.configure(parser)
    parser.add_argument(
        "--target-fa",
        type=float,
        metavar="F",
        help="choose smoothing, threshold and refractory time on validation audio, for the fewest misses at F false"
        " accepts an hour, and write them into MODEL",
    )


def run(options: argparse.Namespace) -> int:
    """Prints the tables; writes --picture, and MODEL where --target-fa is given."""
    path: Path = options.model[0]
    if path.suffix != ".tflite":
        raise InputError(f"{path}: --stream takes an int8 .tflite, as `kws quantize` writes it")
    if not 0 < options.hours <= 100:
        raise InputError(f"--hours {options.hours:g}: above 0, up to 100 is accepted")
    if options.target_fa is not None and options.target_fa <= 0:
        raise InputError(f"--target-fa {options.target_fa:g}: above 0 is accepted")
    if options.target_fa is not None and not options.stream and options.target_fa * options.hours < 1:
        needed = f"{1 / options.target_fa:.1f} and the time that the words take are needed"
        raise InputError(f"--hours {options.hours:g}: with --target-fa {options.target_fa:g}, {needed}")
    graph = tflite.read(path)
    pipeline = Pipeline.of(graph)
    decision = pipeline.decision
    if options.stride_hops is not None:
        decision = replace(decision, stride_hops=options.stride_hops)
        pipeline = replace(pipeline, decision=decision)
    if options.skip_silence is not None:
        pipeline = pipeline.resting(options.skip_silence)
    listener = Listener(pipeline)
    made = _recordings(options, pipeline)
    trials: dict[str, Trial] = {}
    for split, recordings in made.items():
        started = time.monotonic()
        heard = list(progress(listener.hear_all(recordings), f"listening, {split}", len(recordings), "recording"))
        seconds = time.monotonic() - started
        trials[split] = Trial(heard, pipeline.labels, pipeline.words)
        if not options.json:
            print(_heard(split, heard, seconds))
        if options.target_fa is not None and split == "validation":
            decision = trials[split].choose(decision.stride_hops, options.target_fa).decision
    results = {split: trial.point(decision) for split, trial in trials.items()}
    split, trial = list(trials.items())[-1]
    curve = trial.curve(decision)
    if options.json:
        found = {
            split: _summary(point) | {"left_out": left_out(trials[split].heard)} for split, point in results.items()
        }
        print(json.dumps(found | {"curve": [*map(_summary, curve)]}))
    else:
        print("\n".join(_text(split, point) for split, point in results.items()))
        print(f"\n{split}, at other thresholds\n{_levels(curve)}")
    if options.picture:
        curves = {f"smoothing {n}": trial.curve(replace(decision, smoothing=n)) for n in _around(decision)}
        files.write_whole(options.picture, plots.det(curves, results[split], f"{path.name}, {split}"))
    if options.target_fa is not None:
        _write(path, graph, decision, options.target_fa)
        if not options.json:
            print(f"\nwritten into {path}: these settings, chosen for {options.target_fa:g} false accepts an hour")
    return 0


def _recordings(options: argparse.Namespace, pipeline: Pipeline) -> dict[str, list[Callable[[], Recording]]]:
    """Recordings by split: those that were named, or made ones for testing and, to choose settings on, validation."""
    flags = zip(pipeline.labels, keywords(pipeline.labels), strict=True)
    words = pipeline.words or [label for label, keyword in flags if keyword]
    if options.stream:
        named: list[Callable[[], Recording]] = [partial(recording.read, path, words) for path in options.stream]
        return {"validation" if options.target_fa is not None else "recordings": named}
    corpus = corpus_again(options, words, length_of(pipeline.graph))
    corpus.load()
    made: dict[str, list[Callable[[], Recording]]] = {}
    for split in ("validation", "testing") if options.target_fa is not None else (options.split,):
        source = material.source(corpus, words, options.exclude, split, options.background, options.rooms)
        made[split] = [partial(scenes.render, source, scene) for scene in scenes.plan(source, options.hours, seed=0)]
    return made


def _around(decision: Decision) -> list[int]:
    """Smoothings to draw beside the decision's own."""
    return sorted({1, max(1, decision.smoothing // 2), decision.smoothing, min(64, 2 * decision.smoothing)})


def _heard(split: str, heard: Sequence[Heard], seconds: float) -> str:
    length = sum(each.hops * each.hop_seconds for each in heard)
    words = sum(len(each.words) for each in heard)
    rest = f"; {left_out(heard):.1%} of the inferences left out" if any(each.left_out for each in heard) else ""
    speed = f"made and heard at {length / seconds:.0f} x real time"
    return f"{split}: {length / 3600:.2f} hours, {words} words; {speed}{rest}"


def _text(split: str, point: Point) -> str:
    score = point.score
    rows = [
        [label, int(spoken), f"{1 - hits / spoken:.1%}" if spoken else "-", f"{wrong / score.hours:.2f}", int(confused)]
        for label, spoken, hits, wrong, confused in zip(
            score.labels, score.spoken, score.hits, score.false_accepts, score.confusions, strict=True
        )
        if spoken or wrong
    ]
    return (
        f"\n{split}: {point.decision.text()}\n"
        f"missed {score.miss_rate:.1%} of {score.spoken.sum()}; {score.fa_per_hour:.2f} false accepts an hour"
        f" ({score.false_accepts.sum()} in {score.hours:.2f} h); confused {score.confusion_rate:.1%};"
        f" {score.latency(0.5):.2f} s after a word's end, 90 % within {score.latency(0.9):.2f} s\n"
        + Table(["word", "spoken", "missed", "false accepts/h", "confusions"], rows).text()
    )


def _levels(curve: Sequence[Point]) -> str:
    """The curve at some rates of false accepts: for each the lowest threshold that keeps it."""
    rows = []
    for level in _LEVELS:
        fitting = [point for point in curve if point.score.fa_per_hour <= level]
        if fitting:
            best = min(fitting, key=lambda point: point.score.miss_rate)
            rows.append(
                [f"{level:g}", best.decision.threshold, f"{best.score.fa_per_hour:.2f}", f"{best.score.miss_rate:.1%}"]
            )
    return Table(["false accepts/h <=", "threshold", "found", "missed"], rows).text()


def _summary(point: Point) -> dict[str, object]:
    score = point.score
    return {
        "decision": point.decision.to_dict(),
        "hours": score.hours,
        "spoken": int(score.spoken.sum()),
        "miss_rate": score.miss_rate,
        "fa_per_hour": score.fa_per_hour,
        "confusion_rate": score.confusion_rate,
        "latency": {"median": score.latency(0.5), "90%": score.latency(0.9)},
    }


def _write(path: Path, graph: Graph, decision: Decision, target_fa: float) -> None:
    """The model with this decision, and the rate of false accepts that it was chosen for; its enrolment, which names
    the model by its hash, goes with it."""
    graph.metadata |= {"decision": decision.to_dict(), "target_fa": target_fa}
    written = {path.name: tflite.write(graph)}
    beside = enrolment_of(path)
    if beside.exists():
        enrolment = tflite.read(beside)
        enrolment.metadata["model"] = hashlib.sha256(written[path.name]).hexdigest()[:16]
        written[beside.name] = tflite.write(enrolment)
    files.write_all(path.parent, written)
