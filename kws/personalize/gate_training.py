"""Train a network's gates, and the network to live with them: PPP-style, reconstructed."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax
from tqdm import tqdm

from mcu_codegen.frontend import FrontEnd

from ..evaluate import real
from ..recipe import Views
from .gated import Costs, GatedNetwork
from .users import Batch, Users


@dataclass(frozen=True)
class GateRecipe:
    """How gates are trained. The weights of the loss name what they weigh."""

    keep_macs: float = 0.5
    steps: int = 3000
    users: int = 16  # a batch
    enrol: tuple[int, ...] = (1, 3, 5, 10)  # utterances a user enrols with; a batch draws one of them
    query: int = 12
    full_batch: int = 64
    words_share: float = 0.5  # of the users use half of the words
    words_macs: float = 0.6  # of keep_macs is what they may keep
    learning_rate: float = 2e-3
    warmup: float = 0.05  # of the steps
    opening: float = 0.4  # of the steps: the budget falls from all to keep_macs
    prototype: float = 1.0
    sample: float = 0.3
    full: float = 1.0
    utilisation: float = 20.0
    pull: float = 0.1
    common: float = 5.0  # how much quicker the gates' biases learn, the part that all users share
    teacher: float = 0.0
    noise: float = 1.0  # logistic noise on logits
    label_smoothing: float = 0.1
    weight_decay: float = 1e-2


def straight_through(logits: Tensor, noise: float = 0.0) -> Tensor:
    """Gates 0 or 1, open where a logit is above zero, with the gradient of the sigmoid."""
    if noise:
        uniform = torch.rand_like(logits).clamp_(1e-6, 1 - 1e-6)
        logits = logits + noise * (uniform.log() - (-uniform).log1p())
    chance = logits.sigmoid()
    return (chance > 0.5).float() + chance - chance.detach()


def prototypes(said: Sequence[Tensor], users: int) -> list[Tensor]:
    """The mean of each user's logits, [users, gates] per group, from [users * K, gates]."""
    return [each.unflatten(0, (users, -1)).mean(1) for each in said]


class GateTraining:
    def __init__(
        self,
        gated: GatedNetwork,
        users: Users,
        training: Views,
        clips: np.ndarray,
        spec: FrontEnd,
        recipe: GateRecipe,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.clips, self.clip_labels = clips, users.clip_labels
        self.gated, self.users, self.training, self.spec, self.recipe = gated, users, training, spec, recipe
        self.teacher = copy.deepcopy(gated.network).eval() if recipe.teacher else None
        self.rng = np.random.default_rng(seed)
        self.costs = Costs.of(gated, training.features.shape[1], training.features.shape[2])
        named = list(gated.named_parameters())
        shared = {name for name, _ in named if re.search(r"head\d+\.bias|absent", name)}
        heads = [value for name, value in named if name in shared]
        weights = [value for name, value in named if name not in shared and value.ndim > 1]
        others = [value for name, value in named if name not in shared and value.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0},
                {"params": others, "weight_decay": 0.0, "factor": 1.0},
                {"params": heads, "weight_decay": 0.0, "factor": recipe.common},
            ]
        )
        self.done = 0

    def run(self, steps: int) -> dict[str, float]:
        self.gated.train()
        sums: dict[str, float] = {}
        for _ in tqdm(range(steps), "gates", leave=False, mininterval=0.5, disable=None):
            for name, value in self._step().items():
                sums[name] = sums.get(name, 0.0) + value / steps
        return sums

    def _step(self) -> dict[str, float]:
        recipe, rng = self.recipe, self.rng
        progress = self.done / recipe.steps
        rate = recipe.learning_rate * (
            min(1.0, (progress + 1e-3) / recipe.warmup)
            if progress < recipe.warmup
            else 0.5 * (1 + math.cos(math.pi * (progress - recipe.warmup) / (1 - recipe.warmup)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        opened = min(1.0, progress / recipe.opening)
        batch = self.users.batch(recipe.users, int(rng.choice(recipe.enrol)), recipe.query, recipe.words_share, rng)
        parts = self._loss(batch, opened)
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.gated.parameters(), 5.0)
        self.optimizer.step()
        self.done += 1
        return {name: float(value.detach()) for name, value in parts.items()} | self._seen

    def _real(self, features: np.ndarray) -> Tensor:
        return real(features, self.spec).to(memory_format=torch.channels_last)

    def _loss(self, batch: Batch, opened: float) -> dict[str, Tensor]:
        recipe, gated = self.recipe, self.gated
        users = len(batch.enrol)
        any_rows = self.rng.integers(len(self.training.labels), size=recipe.full_batch)
        outputs = gated(self._real(self.training.features[any_rows]))
        enrolled = self._real(self.clips[batch.enrol.reshape(-1)])
        everyday = gated.enrol(enrolled)
        mean = prototypes(everyday, users)
        absent = gated.without(torch.from_numpy(batch.allowed))
        wanted = [each + change for each, change in zip(mean, absent, strict=True)]
        gates = [straight_through(each, recipe.noise) for each in wanted]
        gates = [torch.where(each.detach().sum(1, keepdim=True) > 0, each, each + 1.0) for each in gates]
        judged = batch.query.shape[1]
        query = self._real(self.training.features[batch.query.reshape(-1)])
        labels = torch.from_numpy(batch.labels).reshape(-1)
        allowed = torch.from_numpy(batch.allowed).repeat_interleave(judged, 0)
        theirs = gated(query, [each.repeat_interleave(judged, 0) for each in gates])
        kept = self.costs.kept(gates)
        few = torch.from_numpy(~batch.allowed.all(1)).float()
        budget = 1 - (1 - recipe.keep_macs * (1 - few * (1 - recipe.words_macs))) * opened
        parts = {
            "prototype": recipe.prototype * restricted(theirs, labels, allowed, recipe.label_smoothing),
            "full": recipe.full
            * cross_entropy(
                outputs,
                torch.from_numpy(self.training.labels[any_rows]),
                label_smoothing=recipe.label_smoothing,
            ),
            "utilisation": recipe.utilisation * (kept - budget).square().mean(),
        }
        if recipe.pull:
            parts["pull"] = recipe.pull * sum(
                (each.sigmoid().unflatten(0, (users, -1)) - middle.detach().sigmoid()[:, None]).square().mean()
                for each, middle in zip(everyday, mean, strict=True)
            )
        if recipe.sample:  # PPP's path for ordinary data: an utterance opens its own gates
            first = slice(None, None, batch.enrol.shape[1])
            alone = gated(
                enrolled[first],
                [straight_through(each[first] + change) for each, change in zip(everyday, absent, strict=True)],
            )
            spoken = torch.from_numpy(self.clip_labels[batch.enrol[:, 0]])
            parts["sample"] = recipe.sample * restricted(
                alone, spoken, torch.from_numpy(batch.allowed), recipe.label_smoothing
            )
        if self.teacher is not None:
            with torch.no_grad():
                told = self.teacher(query)
            told = softmax(told.masked_fill(~allowed, -1e4), 1)
            whole = allowed.all(1)
            parts["teacher"] = recipe.teacher * kl_div(
                log_softmax(theirs[whole], 1), told[whole], reduction="batchmean"
            )
        with torch.no_grad():
            hard = [(each > 0).float() for each in wanted]
            self._seen = {
                "accuracy": float((theirs.masked_fill(~allowed, -1e4).argmax(1) == labels).float().mean()),
                "kept": float(self.costs.kept(hard)[few == 0].mean()),
                "kept_words": float(self.costs.kept(hard)[few == 1].mean()),
                "within": float(
                    np.mean([float((each.unflatten(0, (users, -1)) > 0).float().var(1).mean()) for each in everyday])
                ),
                "differs": float(np.mean([float((each - each.mean(0)).abs().mean()) for each in hard])),
            }
        return parts


def restricted(outputs: Tensor, labels: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy among the `allowed` labels [N, labels] only."""
    outputs = outputs.masked_fill(~allowed, -1e4)
    logs = log_softmax(outputs, 1)
    target = smoothing * allowed / allowed.sum(1, keepdim=True)
    target = target.scatter_add(1, labels[:, None], torch.full((len(labels), 1), 1 - smoothing))
    return -(target * logs.masked_fill(~allowed, 0.0)).sum(1).mean()
