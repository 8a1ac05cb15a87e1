"""The clips that the table of exits is about, as they are heard by networks of users who enrolled with some of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcu_codegen.execute.numpy_executor import NumpyExecutor
from mcu_codegen.graph import Graph
from mcu_codegen.users.costs import costs, kept
from mcu_codegen.users.gates import Gates, absent_steps, check_pair, decide
from mcu_codegen.users.learning import NO_LABEL, Utterances

from .exit_comparison import Subject
from .protocol import Trial

_BATCH = 256


class GatedClips:
    """All clips, and what enrolment says of each of them."""

    def __init__(self, model: Graph, enrolment: Graph, codes: np.ndarray, everybody: Subject) -> None:
        """`codes` are int8 features (N, *input shape); `everybody` is the model with all gates open, over those.

        Raises InputError where the two graphs do not belong together.
        """
        check_pair(model, enrolment)
        self._model, self._codes, self._everybody = model, codes, everybody
        outputs = enrolment.main.outputs
        executor = NumpyExecutor(enrolment)
        parts = [executor.run([codes[at : at + _BATCH]]) for at in range(0, len(codes), _BATCH)]
        self._said = [np.concatenate([part[index] for part in parts]).reshape(len(codes), -1) for index in outputs]
        self._zero_points = [enrolment.tensors[index].zero_point for index in outputs]
        self._absent = absent_steps(enrolment)

    def gates(self, trial: Trial) -> Gates:
        """Those of a trial's user, as `User.enrol` decides them."""
        count, absent = len(trial.enrol), ~trial.allowed
        totals = [
            said[trial.enrol].sum(axis=0, dtype=np.int64) + count * steps[absent].sum(axis=0, dtype=np.int64)
            for said, steps in zip(self._said, self._absent, strict=True)
        ]
        return decide(totals, self._zero_points, count)

    def under(self, trial: Trial) -> Subject:
        """The network with those gates, which has heard the clips of the trial; of others it knows nothing."""
        gates, rows = self.gates(trial), np.concatenate([trial.enrol, trial.query])
        heard = Utterances.of(self._model, self._codes[rows], [NO_LABEL] * len(rows), gates)

        def placed(values: np.ndarray) -> np.ndarray:
            every = np.zeros((len(self._codes), values.shape[1]), values.dtype)
            every[rows] = values
            return every

        clips = replace(self._everybody.clips, features=tuple(map(placed, heard.features)), scores=placed(heard.scores))
        return replace(
            self._everybody, clips=clips, costs=np.array(costs(self._model, gates)), macs=kept(self._model, gates)
        )
