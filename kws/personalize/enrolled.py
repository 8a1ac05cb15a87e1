"""Training users of a gated network whose gates no longer change: enrolled once, for whatever learns beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mcu_codegen.listen.frontend import FrontEnd

from ..training.inference import real
from .choices import Gates, decided
from .gate_training import GateRecipe
from .gated import GatedNetwork
from .users import Users

_AT_ONCE = 16  # users who enrol with as many utterances


@dataclass(frozen=True)
class Enrolled:
    """Row i of every tensor is user i. A network without gates has one user, whose gates are no groups."""

    gates: tuple[Tensor, ...]  # by group, [U, gates] of ones and zeros
    allowed: Tensor  # bool[U, labels]: silence, unknown and the user's words

    @staticmethod
    def nobody(labels: int) -> Enrolled:
        """Of a network without gates."""
        return Enrolled((), torch.ones(1, labels, dtype=torch.bool))

    @staticmethod
    @torch.no_grad()
    def of(
        gated: GatedNetwork,
        users: Users,
        clips: np.ndarray,
        spec: FrontEnd,
        count: int,
        open_share: float,
        rng: np.random.Generator,
    ) -> Enrolled:
        """`count` of `users`, enrolled as gates are trained, of whom `open_share` are somebody of all words with all
        gates open instead. `clips` are the features of the training clips as recorded, int8[N, frames, coefficients].
        """
        recipe, gated = GateRecipe(), gated.eval()
        gates: list[Gates] = []
        allowed: list[np.ndarray] = []
        while len(gates) < count:
            batch = users.batch(_AT_ONCE, int(rng.choice(recipe.enrol)), 2, recipe.words_share, rng)
            for rows, words in zip(batch.enrol, batch.allowed, strict=True):
                said = gated.enrol(real(clips[rows], spec))
                gates.append(decided(said, gated.without(torch.from_numpy(words[np.newaxis]))))
                allowed.append(words)
        whole = np.arange(count) < round(count * open_share)
        own = [torch.cat(each[:count]) for each in zip(*gates, strict=True)]
        anybody = torch.from_numpy(whole)[:, np.newaxis]
        return Enrolled(
            tuple(torch.where(anybody, 1.0, each) for each in own),
            torch.from_numpy(np.stack(allowed[:count])) | anybody,
        )

    def drawn(self, count: int, rng: np.random.Generator) -> tuple[list[Tensor], Tensor]:
        """Gates by group [count, gates], and allowed labels, bool[count, labels], of users drawn at random."""
        rows = torch.from_numpy(rng.integers(len(self.allowed), size=count))
        return [each[rows] for each in self.gates], self.allowed[rows]
