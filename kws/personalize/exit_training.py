"""Train early exits of a network that stays as it is: PersEPhonEE-style, reconstructed.

The heads learn the labels and, for the other half of the loss, what the network's own last exit says, as a smaller
network learns from a teacher: what it is unsure of, they need not be sure of. Those of a gated network learn under the
gates of training users, and with all open, and so does their teacher.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mcu_codegen.listen.frontend import FrontEnd

from ..data import augment
from ..data.task import Task
from ..models.exits import Head
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.distillation import softened_divergence
from ..training.inference import features_of, outputs, real
from ..training.optimizer import adamw
from ..training.recipe import Augmentation, Recipe, Views, ramp, view_clips, views
from .enrolled import Enrolled
from .gate_loss import personal_loss
from .gated import GatedNetwork
from .protocol import UNKNOWN
from .users import Users

EXITS = "exits.pt"


@dataclass(frozen=True)
class ExitRecipe:
    """How heads are trained."""

    exits: tuple[int, ...] = (0, 1, 2)  # places: behind the stem, behind the first block, ...
    epochs: int = 12
    batch: int = 128
    learning_rate: float = 4e-3  # the highest, after warm-up; then a cosine down to zero
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    users: int = 500  # of a gated network: training users, with gates of their own
    open: float = 0.25  # of the examples are of somebody else, whose gates are all open


def train_exits(
    held: Checkpoint,
    task: Task,
    recipe: ExitRecipe,
    seed: int,
    out: Path,
    resume: bool = False,
    augmentation: Augmentation = Recipe.augmentation,
) -> Checkpoint:
    """Give a trained network, perhaps a gated one, early exits. Its own weights, and so its last answer and its gates,
    stay as they are.

    `out` receives exits.pt in the end, and after each epoch exits.last.pt, what `resume` needs. `augmentation` makes
    the examples; that of the network's training is in the cache. Raises InputError where the task's labels are not the
    network's, or it has no such places for exits.
    """
    held.check(task)
    torch.manual_seed(seed)
    network = held.with_exits(recipe.exits)
    identity = f"{checkpoint.fingerprint(network)} {task.fingerprint} {recipe} seed {seed}"
    training = views(task, held.window, augmentation, seed)
    users = Enrolled.nobody(len(task.labels))
    if isinstance(network, GatedNetwork):
        rng, clips = np.random.default_rng(seed), features_of(task.training, held.window)
        speakers = Users(task, view_clips(task, augmentation, seed), training.labels)
        users = Enrolled.of(network, speakers, clips, held.window.front_end, recipe.users, recipe.open, rng)
    run = _Run(network, users, held.window.front_end, recipe, identity, seed)
    state = out / "exits.last.pt"
    if resume and state.exists():
        run.restore(state)
    validation = features_of(task.validation, held.window)
    while run.done < recipe.epochs:
        run.epoch(training)
        checkpoint.write_tensors(state, run.state())
        right = [
            float((answers.argmax(1).numpy() == task.validation.labels).mean())
            for answers in outputs(network, validation, held.window.front_end)
        ]
        print(f"epoch {run.done}: validation accuracy by exit {', '.join(f'{each:.1%}' for each in right)}")
    record = held.recipe | {"exits": dataclasses.asdict(recipe), "exits_seed": seed}
    result = dataclasses.replace(held, state_dict=network.state_dict(), recipe=record, exits=recipe.exits)
    checkpoint.save(out / EXITS, result)
    return result


class _Run:
    """All that changes while heads are trained, and how to put it aside and take it up again."""

    def __init__(
        self, network: nn.Module, users: Enrolled, spec: FrontEnd, recipe: ExitRecipe, identity: str, seed: int
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker on a CPU
        self.users, self.spec, self.recipe, self.identity, self.seed = users, spec, recipe, identity, seed
        network.requires_grad_(False)
        self.heads = nn.ModuleList(module for module in network.modules() if isinstance(module, Head))
        self.optimizer = adamw(self.heads.requires_grad_().parameters(), recipe.weight_decay)
        self.done = 0

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, as plain values and tensors."""
        return {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
        }

    def restore(self, path: Path) -> None:
        """Take up the run whose state is in `path`. Raises InputError where it is a run of something else."""
        state = checkpoint.read_state(path, self.identity)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]

    def epoch(self, training: Views) -> None:
        """One pass over a view."""
        recipe, rng = self.recipe, np.random.default_rng([self.seed, self.done])
        codes, targets = training.epoch(self.done, self.seed)
        codes = augment.spec_augment(
            codes, self.spec.floor_codes, rng, Recipe.time_masks, Recipe.time_width, band_masks=0
        )
        labels = torch.from_numpy(targets)
        steps = math.ceil(len(labels) / recipe.batch)
        self.network.eval()
        self.heads.train()
        for step in tqdm(range(steps), f"exits {self.done + 1}/{recipe.epochs}", leave=False, disable=None):
            rows = slice(step * recipe.batch, (step + 1) * recipe.batch)
            for group in self.optimizer.param_groups:
                group["lr"] = recipe.learning_rate * ramp(self.done + step / steps, 0.5, recipe.epochs)
            gates, allowed = self.users.drawn(len(labels[rows]), rng)
            answers = self.network(real(codes[rows], self.spec), *gates)
            loss = _loss(answers, labels[rows], allowed, recipe.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.done += 1


def _loss(answers: Sequence[Tensor], labels: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """The sum over the early exits: half cross-entropy for users of these words, to whom another word is _unknown_;
    half the divergence from the last exit's answer."""
    *early, last = answers
    spoken = torch.where(allowed.gather(1, labels[:, None])[:, 0], labels, UNKNOWN)
    parts = [
        0.5 * personal_loss(each, spoken, allowed, smoothing) + 0.5 * softened_divergence(each, last.detach())
        for each in early
    ]
    return torch.stack(parts).sum()
