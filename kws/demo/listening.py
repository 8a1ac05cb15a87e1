"""The network listens: hours of made audio, some seconds of it as a picture, and what a second costs each core."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mcu_codegen.emulate import toolchain
from mcu_codegen.errors import InputError
from mcu_codegen.graph import Graph
from mcu_codegen.listen.pipeline import Pipeline
from mcu_codegen.listen.step import step_of
from mcu_codegen.prove.listening import Listening, listening
from mcu_codegen.report import Table
from mcu_codegen.targets import TARGETS

from ..data.corpus import Corpus
from ..data.task import Task
from ..listening import material, plots, scenes
from ..listening.decisions import candidates
from ..listening.hearing import Listener
from ..listening.settings import Point, Trial

HOURS = 0.5  # for choosing settings, and as many for testing them
TARGET = 5.0  # false accepts an hour; half an hour is too little to choose by fewer
_SHOWN = 45.0  # seconds of the picture


@dataclass(frozen=True)
class Hours:
    """What decisions detect in test audio: the model's own, and one chosen on validation audio."""

    own: Point
    chosen: Point | None  # None: no settings keep to the target
    picture: bytes  # PNG, scores over time and what was spoken


@dataclass(frozen=True)
class Heard:
    """What listening gives and costs; a string says why there is none."""

    hours: Hours | str
    costs: dict[str, tuple[Listening, Listening] | str]  # by core: whole windows, and steps

    def points(self) -> Table:
        """Misses and false accepts of each decision."""
        header = ("decision", "threshold", "smoothing", "words", "missed", "false accepts/h", "hours", "latency")
        if isinstance(self.hours, str):
            return Table(header, [(self.hours, *[""] * (len(header) - 1))])
        rows: list[tuple[object, ...]] = [_row("the model's", self.hours.own)]
        if self.hours.chosen is not None:
            rows.append(_row(f"chosen for {TARGET:g} false accepts/h", self.hours.chosen))
        return Table(header, rows)

    def seconds(self) -> Table:
        """A second of listening on each core, before and after."""
        header = ("core", "whole windows", "every", "steps", "every", "share", "RAM before", "RAM after")
        rows: list[tuple[object, ...]] = []
        for core, found in self.costs.items():
            if isinstance(found, str):
                rows.append((core, found, *[""] * (len(header) - 2)))
                continue
            whole, step = found
            share = step.instructions_per_second / whole.instructions_per_second
            numbers = [
                value
                for each in found
                for value in (round(each.instructions_per_second), f"{1000 / each.inferences_per_second:.0f} ms")
            ]
            rows.append((core, *numbers, f"{share:.0%}", whole.ram, step.ram))
        return Table(header, rows)

    def summary(self) -> dict[str, Any]:
        """For machines."""
        points = {}
        if isinstance(self.hours, Hours):
            points = {name: point for name in ("own", "chosen") if (point := getattr(self.hours, name)) is not None}
        return {
            "decisions": {
                name: {
                    "decision": point.decision.to_dict(),
                    "hours": point.score.hours,
                    "words": int(point.score.spoken.sum()),
                    "miss_rate": point.score.miss_rate,
                    "fa_per_hour": point.score.fa_per_hour,
                }
                for name, point in points.items()
            },
            "instructions_per_second": {
                core: {"windows": found[0].instructions_per_second, "steps": found[1].instructions_per_second}
                for core, found in self.costs.items()
                if not isinstance(found, str)
            },
        }


def listen(graph: Graph, corpus: Corpus, task: Task, exclude: Sequence[str]) -> Heard:
    """`graph`, a network that streams, among the sounds of `corpus`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        costs = dict(zip(TARGETS, pool.map(partial(_costs, graph), TARGETS), strict=True))
    try:
        return Heard(_hours(Pipeline.of(graph), corpus, task, exclude), costs)
    except InputError as error:
        return Heard(str(error), costs)


def _costs(graph: Graph, core: str) -> tuple[Listening, Listening] | str:
    try:
        whole, step = (
            listening(Pipeline.of(each), TARGETS[core], toolchain.choose()) for each in (graph, step_of(graph))
        )
    except InputError as error:
        return str(error)
    return whole, step


def _hours(pipeline: Pipeline, corpus: Corpus, task: Task, exclude: Sequence[str]) -> Hours:
    listener = Listener(pipeline)
    words = task.labels[2:]
    sources = {split: material.source(corpus, words, exclude, split) for split in ("validation", "testing")}
    validation, testing = (
        Trial(list(listener.hear_all([partial(scenes.render, source, scene) for scene in plan])), pipeline.labels, None)
        for source in sources.values()
        for plan in [scenes.plan(source, HOURS, seed=0)]
    )
    own = testing.point(pipeline.decision)
    try:
        decision = validation.choose(pipeline.decision.stride_hops, TARGET).decision
    except InputError:
        return Hours(own, None, _picture(listener, sources["testing"], pipeline))
    chosen = replace(pipeline, decision=decision)
    return Hours(own, testing.point(decision), _picture(listener, sources["testing"], chosen))


def _picture(listener: Listener, source: scenes.Source, pipeline: Pipeline) -> bytes:
    """A stretch of test audio of its own, as `pipeline` decides it."""
    (scene,) = scenes.plan(source, _SHOWN / 3600, seed=1)
    heard, decision = listener.hear(scenes.render(source, scene)), pipeline.decision
    found = candidates([heard], decision.smoothing, pipeline.labels)
    hops, labels = found.detected(decision.threshold, decision.refractory_hops)
    detections = [
        (hop * heard.hop_seconds, pipeline.labels[label])
        for hop, label in zip(hops.tolist(), labels.tolist(), strict=True)
    ]
    return plots.over_time(heard, pipeline.labels, decision, detections)


def _row(name: str, point: Point) -> tuple[object, ...]:
    score = point.score
    return (
        name,
        point.decision.threshold,
        point.decision.smoothing,
        int(score.spoken.sum()),
        f"{score.miss_rate:.1%}",
        f"{score.fa_per_hour:.1f}",
        f"{score.hours:.2f}",
        f"{score.latency(0.5):.2f} s",
    )
