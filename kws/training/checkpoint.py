"""A trained network as a file: what it is, what it hears, its weights and how they came about."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mcu_codegen import files
from mcu_codegen.errors import InputError

from .. import models
from ..data.audio import RATE
from ..data.task import Task, check_seconds
from ..features import Window
from ..models.exits import with_exits
from ..personalize.gated import GatedNetwork

BEST = "best.pt"  # in the --out folder of `kws train`
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network. `recipe` records how it was trained; nothing reads it back but people."""

    model: str  # a name that models.find knows
    labels: tuple[str, ...]
    front_end: str  # a name of frontend.PRESETS
    state_dict: dict[str, Tensor]
    recipe: dict[str, Any] = field(default_factory=dict)
    gate_size: int = 0  # channels a gate; 0: a network without gates
    exits: tuple[int, ...] = ()  # places of early exits (models.exits)
    seconds: float = 1.0  # of a clip
    learner: dict[str, Any] = field(default_factory=dict)  # how a meta-trained network is adapted (meta.learners)

    @property
    def window(self) -> Window:
        """What the network is shown of a clip."""
        return Window(self.front_end, models.find(self.model).context, round(self.seconds * RATE))

    def check(self, task: Task) -> None:
        """Raises InputError where the labels of `task` are not the network's."""
        if task.labels != self.labels:
            raise InputError(f"labels {', '.join(task.labels)} do not match the network's: {', '.join(self.labels)}")

    def network(self) -> nn.Module:
        """The network for inference: real feature values [N, 1, frames, coefficients] to logits [N, labels], those of
        every exit where it has exits."""
        network = self._untrained()
        network.load_state_dict(self.state_dict)
        return network.eval()

    def with_exits(self, exits: Sequence[int]) -> nn.Module:
        """This network, which has no exits yet, with untrained ones at these places."""
        network = self.network()
        if not isinstance(network, GatedNetwork):
            return self._exited(network, exits)
        gated = self._gated(self._exited(network.network, exits))
        gated.gating, gated.absent = network.gating, network.absent
        return gated.eval()

    def _untrained(self) -> nn.Module:
        network = models.build(self.model, len(self.labels))
        if self.exits:
            network = self._exited(network, self.exits)
        return self._gated(network) if self.gate_size else network

    def _exited(self, network: nn.Module, exits: Sequence[int]) -> nn.Module:
        return with_exits(network, exits, self.window.frames(self.window.length), self.window.front_end.coefficients)

    def _gated(self, network: nn.Module) -> GatedNetwork:
        return GatedNetwork(network, self.gate_size, self.window.front_end.coefficients)


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dict of plain values and tensors, beside its place first."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    files.write_whole(path, buffer.getvalue())


def read_tensors(path: Path) -> dict[str, Any]:
    """What `write_tensors` wrote. Raises InputError; runs nothing that the file may hold."""
    try:
        held = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error})") from None
    try:
        content = torch.load(held, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged or foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: not a checkpoint ({reason[:100]}); a file written by `kws train` is accepted"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a checkpoint (holds a {type(content).__name__})")
    return content


def read_state(path: Path, identity: str) -> dict[str, Any]:
    """What a run wrote to be taken up again. Raises InputError where its "identity" is another one."""
    state = read_tensors(path)
    if state.get("identity") != identity:
        raise InputError(f"{path}: --resume needs the same network, data and options as that run")
    return state


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`; the file appears whole or not at all."""
    content = asdict(checkpoint) | {
        "format": _FORMAT,
        "labels": list(checkpoint.labels),
        "exits": list(checkpoint.exits),
    }
    content["state_dict"] = {name: value.detach().contiguous() for name, value in checkpoint.state_dict.items()}
    write_tensors(path, content)


def load(path: Path | str) -> Checkpoint:
    """Read and check a checkpoint: known model and front end, weights that fit it, no NaN or infinity."""
    path = Path(path)
    content = read_tensors(path)
    if content.pop("format", None) != _FORMAT:
        raise InputError(f"{path}: not a checkpoint of format {_FORMAT}; a file written by `kws train` is accepted")
    try:
        checkpoint = Checkpoint(
            **content | {"labels": tuple(content["labels"]), "exits": tuple(content.get("exits", ()))}
        )
        if not isinstance(checkpoint.state_dict, dict) or not 0 <= checkpoint.gate_size < 1 << 16:
            raise TypeError("damaged")
        check_seconds(checkpoint.seconds)
        expected = checkpoint._untrained().state_dict()
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a whole checkpoint ({error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    _check_weights(path, checkpoint, expected)
    return checkpoint


def of_run(path: Path) -> Path:
    """The best checkpoint where `path` is the --out folder of `kws train`, else `path`."""
    return path / BEST if path.is_dir() else path


def fingerprint(network: nn.Module) -> str:
    """SHA-256 of all weights, in hexadecimal."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_weights(path: Path, checkpoint: Checkpoint, expected: dict[str, Tensor]) -> None:
    found = checkpoint.state_dict
    for name in [*expected, *found]:
        shapes = [tuple(side[name].shape) if name in side else "nothing" for side in (found, expected)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{path}: weights of another architecture: {name} is {shapes[0]}, {checkpoint.model} has {shapes[1]}"
            )
        if not torch.isfinite(found[name]).all():
            raise InputError(f"{path}: layer {name} holds NaN or infinity; train again or use an earlier checkpoint")
