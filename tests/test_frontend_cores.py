"""The front end of every instruction set on an emulated core, against NumPy, byte by byte."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from test_frontend import extreme_audio, real_clips

from mcu_codegen.emit.frontend import emit_frontend
from mcu_codegen.emulate import toolchain
from mcu_codegen.emulate.frontend_program import STAGES, FrontEndProgram
from mcu_codegen.emulate.machine import Machine
from mcu_codegen.emulate.machines import counting_machine, machines
from mcu_codegen.errors import InputError
from mcu_codegen.listen import frontend
from mcu_codegen.listen.frontend import PRESETS
from mcu_codegen.targets import TARGETS

BOUNDS = {"cortex-m0": 65_000, "cortex-m3": 23_000, "cortex-m4": 23_000, "cortex-m55": 7_500}
"""Instructions of a frame, whichever the compiler: docs/front-end.md has the numbers themselves."""


def program(core: str, preset: str, compiler: str = toolchain.NAMES[0]) -> FrontEndProgram:
    """In QEMU, which is the quicker one, or else in Unicorn."""
    chosen = toolchain.available()[compiler]
    found = [each for each in machines(TARGETS[core]).values() if not isinstance(each, str)]
    if isinstance(chosen, str) or not found:
        pytest.skip(chosen if isinstance(chosen, str) else f"nothing here emulates {core}")
    machine: Machine = found[-1]
    return FrontEndProgram(PRESETS[preset], TARGETS[core], machine, chosen)


def random_audio(seed: int, seconds: float) -> np.ndarray:
    """Tones and noise, from silence to far beyond full scale, where they clip."""
    random = np.random.default_rng(seed)
    count = int(seconds * 25)
    n = np.arange(640)
    pieces = []
    for _ in range(count):
        loud, hz = 10 ** random.uniform(-1, 5.2), random.uniform(0, 8000)
        tone = np.sin(2 * np.pi * hz * n / 16000 + random.uniform(0, 6))
        pieces.append(loud * (tone if random.integers(2) else random.normal(0, 1, len(n))))
    return np.rint(np.concatenate(pieces)).clip(-32768, 32767).astype(np.int16)


def compare(core: str, preset: str, audio: np.ndarray, compiler: str = toolchain.NAMES[0]) -> None:
    by_c = program(core, preset, compiler).run(audio)
    np.testing.assert_array_equal(by_c, frontend.features(PRESETS[preset], audio))


@pytest.mark.parametrize("core", TARGETS)
def test_extremes_are_the_same_on_every_core(core: str) -> None:
    """Of a front end with all bins, and of one without the upper ones."""
    audio = np.concatenate([sound[:3200] for sound in extreme_audio().values()])
    for preset in ("logmel40-20ms", "mfcc10"):
        compare(core, preset, audio)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "compiler"), list(zip(PRESETS, itertools.cycle(toolchain.NAMES), strict=False)))
@pytest.mark.parametrize("core", TARGETS)
def test_long_audio_is_the_same_on_every_core(core: str, preset: str, compiler: str) -> None:
    extremes = np.concatenate(list(extreme_audio().values()))
    compare(core, preset, np.concatenate([extremes, random_audio(1, 4 if core == "cortex-m0" else 20)]), compiler)


@pytest.mark.slow
@pytest.mark.parametrize("core", TARGETS)
def test_recordings_are_the_same_on_every_core(core: str) -> None:
    audio = real_clips(10 if core == "cortex-m0" else 60).reshape(-1)
    for preset in ("logmel40", "mfcc10"):
        compare(core, preset, audio)


@pytest.mark.parametrize("compiler", toolchain.NAMES)
@pytest.mark.parametrize("core", BOUNDS)
def test_a_frame_is_cheap(core: str, compiler: str) -> None:
    """Counts are exact, and stages add up to the whole but for what the compiler merges."""
    try:
        counting_machine(TARGETS[core])
    except InputError as error:
        pytest.skip(str(error))
    audio = random_audio(2, 0.2)
    found = program(core, "mfcc10", compiler)
    whole = max(count.instructions[0] for count in found.count(audio))
    stages = max((count.instructions for count in found.count_stages(audio)), key=sum)
    assert len(stages) == len(STAGES) + 1
    assert abs(sum(stages) - whole) < 0.02 * whole
    assert whole <= BOUNDS[core]


@pytest.mark.parametrize("change", [{"hop": 400}, {"hop": 480}, {"bands": 36}])
def test_kernels_are_not_made_for_other_frames(change: dict[str, int]) -> None:
    """Portable C takes any."""
    other = replace(PRESETS["mfcc10"], **change)
    assert emit_frontend(other)
    for instruction_set in ("armv6m", "armv7m", "dsp", "mve"):
        with pytest.raises(ValueError, match="no kernels for"):
            emit_frontend(other, instruction_set=instruction_set)
