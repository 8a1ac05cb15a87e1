"""Train a network's gates, and the network to live with them: PPP-style, reconstructed.

Known of the published method is its idea; the form of the loss is a reconstruction: cross-entropy under the user's
prototype gates, under each utterance's own gates and with all gates open, the divergence from a teacher's answers, a
penalty for MACs off the budget, and a pull of each utterance's gates towards its user's.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from mcu_codegen.listen.frontend import FrontEnd

from ..data.task import Task
from ..training import checkpoint
from ..training.checkpoint import Checkpoint
from ..training.distillation import Teachers, divergence
from ..training.inference import features_of, real
from ..training.recipe import Augmentation, Recipe, Views, ramp, view_clips, views
from .gate_loss import personal_loss, straight_through
from .gated import Costs, GatedNetwork
from .users import Batch, Users

GATED = "gated.pt"
_ROUND = 250  # steps between two states on disk


@dataclass(frozen=True)
class GateRecipe:
    """How gates are trained; the weights of the loss carry the names of its parts."""

    keep_macs: float = 0.485  # of the full network's, for a user of all words
    few_macs: float = 0.6  # of that, for a user of half of the words
    size: int = 4  # channels a gate; words of int8 hold four
    steps: int = 14000
    users: int = 16  # a batch
    enrol: tuple[int, ...] = (3, 10)  # utterances that a user enrols with; a batch draws one of them
    query: int = 12  # utterances that a user is judged by
    words_share: float = 0.2  # of the users use half of the words
    full_batch: int = 32
    learning_rate: float = 3e-3  # the highest, after warm-up; then a cosine down to zero
    common: float = 5.0  # how much quicker the part of the gates learns that all voices share
    warmup: float = 0.05  # of the steps
    closing: float = 0.12  # of the steps, in which the budget falls from all MACs
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    noise: float = 0.3  # standard deviation, on the logits of a user's gates
    sample: float = 0.3
    utilisation: float = 20.0
    pull: float = 1.0
    teacher: float = 2.0  # of the divergence from the teachers' answers, where all words count


def train_gates(
    held: Checkpoint,
    task: Task,
    recipe: GateRecipe,
    seed: int,
    out: Path,
    resume: bool = False,
    augmentation: Augmentation = Recipe.augmentation,
    teachers: Sequence[Checkpoint] = (),
) -> Checkpoint:
    """Give a trained network gates that keep about `recipe.keep_macs` of its MACs for each user.

    `out` receives gated.pt in the end, and during training gates.pt, what `resume` needs. `augmentation` makes the
    examples that users are judged by; that of the network's training is in the cache. Without `teachers`, the network
    before it had gates is the teacher. Raises InputError where the task's labels or a teacher's are not the network's,
    or its channels do not divide into gates.
    """
    held.check(task)
    spec = held.window.front_end
    teaching = Teachers(teachers or [held], held.labels, held.window)
    torch.manual_seed(seed)
    gated = GatedNetwork(held.network(), recipe.size, spec.coefficients)
    training = views(task, held.window, augmentation, seed)
    users = Users(task, view_clips(task, augmentation, seed), training.labels)
    identity = f"{checkpoint.fingerprint(gated)} {task.fingerprint} {recipe} seed {seed} {teaching.fingerprints}"
    clips = features_of(task.training, held.window)
    run = _Run(gated, teaching, users, training, clips, spec, recipe, identity, seed)
    state = out / "gates.pt"
    if resume and state.exists():
        run.restore(state)
    while run.done < recipe.steps:
        seen = run.go(min(_ROUND, recipe.steps - run.done))
        checkpoint.write_tensors(state, run.state())
        print(
            f"step {run.done}: loss {seen['loss']:.3f}, accuracy {seen['accuracy']:.1%},"
            f" MACs kept {seen['kept']:.0%} for all words, {seen['kept_few']:.0%} for few"
        )
    record = held.recipe | {"gates": dataclasses.asdict(recipe), "gates_seed": seed}
    result = dataclasses.replace(held, state_dict=gated.state_dict(), recipe=record, gate_size=recipe.size)
    checkpoint.save(out / GATED, result)
    return result


class _Run:
    """All that changes while gates are trained, and how to put it aside and take it up again."""

    def __init__(
        self,
        gated: GatedNetwork,
        teachers: Teachers,
        users: Users,
        training: Views,
        clips: np.ndarray,
        spec: FrontEnd,
        recipe: GateRecipe,
        identity: str,
        seed: int,
    ) -> None:
        """`clips` are the features of the training clips as recorded, int8[N, frames, coefficients]."""
        self.teachers, self.users, self.training, self.clips, self.spec = teachers, users, training, clips, spec
        self.recipe, self.identity, self.seed = recipe, identity, seed
        self.gated = gated.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker on a CPU
        for layer in gated.network.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # a third less memory traffic, which is what limits the speed
        self.costs = Costs.of(gated, training.features.shape[1], training.features.shape[2])
        named = list(gated.named_parameters())
        shared = {name for name, _ in named if re.search(r"head\d+\.bias", name)}
        heads = [value for name, value in named if name in shared]
        weights = [value for name, value in named if name not in shared and value.ndim > 1]
        others = [value for name, value in named if name not in shared and value.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0},
                {"params": others, "weight_decay": 0.0, "factor": 1.0},
                {"params": heads, "weight_decay": 0.0, "factor": recipe.common},
            ],
            fused=True,
        )
        self.done = 0

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, as plain values and tensors."""
        return {
            "identity": self.identity,
            "gated": self.gated.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
        }

    def restore(self, path: Path) -> None:
        """Take up the run whose state is in `path`. Raises InputError where it is a run of something else."""
        state = checkpoint.read_state(path, self.identity)
        self.gated.load_state_dict(state["gated"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]

    def go(self, steps: int) -> dict[str, float]:
        """Train that many steps; the means of the loss, its parts and what else was seen."""
        self.gated.train()
        sums: Counter[str] = Counter()
        for _ in tqdm(range(steps), f"gates from {self.done}", leave=False, mininterval=0.5, disable=None):
            sums.update(self._step())
        return {name: value / steps for name, value in sums.items()}

    def _step(self) -> dict[str, float]:
        recipe, rng = self.recipe, np.random.default_rng([self.seed, self.done])
        torch.manual_seed(int(rng.integers(2**31)))
        progress = self.done / recipe.steps
        for group in self.optimizer.param_groups:
            group["lr"] = (
                recipe.learning_rate * group["factor"] * ramp(self.done, recipe.warmup * recipe.steps, recipe.steps)
            )
        batch = self.users.batch(recipe.users, int(rng.choice(recipe.enrol)), recipe.query, recipe.words_share, rng)
        everyday = rng.integers(len(self.training.labels), size=recipe.full_batch)
        parts, seen = self._loss(batch, everyday, min(1.0, progress / recipe.closing))
        loss = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.gated.parameters(), 5.0)
        self.optimizer.step()
        with torch.no_grad():
            for table in self.gated.absent:
                table.clamp_(max=0)  # a word less closes gates: what then stays open is trained by users of all words
        self.done += 1
        return {"loss": float(loss.detach())} | {name: float(value.detach()) for name, value in parts.items()} | seen

    def _real(self, features: np.ndarray) -> Tensor:
        return real(features, self.spec).to(memory_format=torch.channels_last)

    def _loss(self, batch: Batch, everyday: np.ndarray, closed: float) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The parts of the loss, and what a person wants to see. `everyday` are rows of the views for the full
        network; `closed`, 0 to 1, says how much of the budget is in force."""
        recipe, gated, smoothing = self.recipe, self.gated, self.recipe.label_smoothing
        users, judged = batch.query.shape
        allowed = torch.from_numpy(batch.allowed)
        enrolled = self._real(self.clips[batch.enrol.reshape(-1)])
        said = gated.enrol(enrolled)
        prototype = [each.unflatten(0, (users, -1)).mean(1) for each in said]
        absent = gated.without(allowed)
        wanted = [each + change for each, change in zip(prototype, absent, strict=True)]
        gates = [straight_through(each + recipe.noise * torch.randn_like(each)) for each in wanted]

        query = self._real(self.training.features[batch.query.reshape(-1)])
        labels = torch.from_numpy(batch.labels).reshape(-1)
        may = allowed.repeat_interleave(judged, 0)
        outputs = gated(query, *(each.repeat_interleave(judged, 0) for each in gates))
        any_word = self._real(self.training.features[everyday])
        full = gated(any_word)
        all_words = allowed.all(1)
        whole = all_words.repeat_interleave(judged)
        answers = self.teachers(torch.cat([any_word, query[whole]]))
        kept = self.costs.kept([straight_through(each) for each in wanted])
        target = recipe.keep_macs * torch.where(all_words, 1.0, recipe.few_macs)
        parts = {
            "prototype": personal_loss(outputs, labels, may, smoothing),
            "full": cross_entropy(full, torch.from_numpy(self.training.labels[everyday]), label_smoothing=smoothing),
            "teacher": recipe.teacher * divergence(torch.cat([full, outputs[whole]]), answers),
            "utilisation": recipe.utilisation * (kept - (1 - (1 - target) * closed)).square().mean(),
            "pull": recipe.pull
            * torch.stack(
                [
                    (each.sigmoid().unflatten(0, (users, -1)) - middle.detach().sigmoid()[:, None]).square().mean()
                    for each, middle in zip(said, prototype, strict=True)
                ]
            ).sum(),
        }
        if recipe.sample:  # the path of ordinary data: an utterance opens its own gates
            first = slice(None, None, batch.enrol.shape[1])
            alone = [straight_through(each[first] + change) for each, change in zip(said, absent, strict=True)]
            spoken = torch.from_numpy(self.users.clip_labels[batch.enrol[:, 0]])
            parts["sample"] = recipe.sample * personal_loss(gated(enrolled[first], *alone), spoken, allowed, smoothing)
        with torch.no_grad():
            decided = outputs.masked_fill(~may, -torch.inf).argmax(1)
            seen = {
                "accuracy": float((decided == labels).float().mean()),
                "kept": float(kept[all_words].mean()) if all_words.any() else 0.0,
                "kept_few": float(kept[~all_words].mean()) if not all_words.all() else 0.0,
            }
        return parts, seen
