"""The emulators there are, and which of them a core has here."""

from __future__ import annotations

from ..errors import InputError
from ..targets import Target
from .machine import Machine
from .qemu_machine import QemuMachine
from .unicorn_machine import UnicornMachine


def machines(target: Target) -> dict[str, Machine | str]:
    """By name, every emulator: an emulated `target`, or the reason why there is none."""
    return {each.name: each.absence(target) or each(target) for each in (UnicornMachine, QemuMachine)}


def counting_machine(target: Target) -> Machine:
    """The emulator of `target` that counts: QEMU before Unicorn, for it is quicker and estimates cycles.

    Their counts are equal. Raises InputError where neither can count.
    """
    reasons = []
    for name, machine in reversed(machines(target).items()):
        reason = machine if isinstance(machine, str) else machine.cannot_count()
        if not isinstance(machine, str) and not reason:
            return machine
        reasons.append(f"{name}: {reason}")
    raise InputError(f"--target {target.name}: nothing here counts its instructions; {'; '.join(reasons)}")
