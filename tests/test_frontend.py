"""The integer front end: NumPy against C byte for byte, C under sanitisers, and its distance to float."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kws import features
from mcu_codegen.emit.frontend import emit_frontend
from mcu_codegen.emit.frontend_selftest import selftest_audio
from mcu_codegen.emit.portable.frontend import FrontEndRenderer
from mcu_codegen.emulate.host import build_shared_library
from mcu_codegen.errors import InputError
from mcu_codegen.listen import frontend

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"
SYSTEM = (shutil.which("gcc") or "",)
ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = [pytest.param(SYSTEM, id="gcc"), pytest.param(ZIG, id="clang")]

pytestmark = pytest.mark.parametrize("preset", frontend.PRESETS)


def extreme_audio() -> dict[str, np.ndarray]:
    """One second each of what strains the arithmetic most."""
    n, random = np.arange(16000), np.random.default_rng(1)
    impulse = np.zeros(16000)
    impulse[[700, 5000]] = 32767, -32768
    sounds = {
        "silence": 0 * n,
        "lowest": np.full(n.shape, -32768),
        "highest": np.full(n.shape, 32767),
        "square wave": np.where(n // 8 % 2, 32767, -32768),
        "Nyquist": np.where(n % 2, 32767, -32768),
        "impulses": impulse,
        "noise": random.integers(-32768, 32768, n.shape),
        "one bit": random.integers(-1, 2, n.shape),
        "sine in a mel band": np.rint(32767 * np.sin(2 * np.pi * 1000 / 16000 * n)),
        "self-test": selftest_audio(),
    }
    return {name: sound.astype(np.int16) for name, sound in sounds.items()}


def real_clips(count: int) -> np.ndarray:
    """int16[count, 16000] of recordings, evenly over everything there is."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    soundfile = pytest.importorskip("soundfile")
    paths = sorted(path for path in DATA.glob("*/*") if path.suffix in (".ogg", ".opus", ".flac", ".wav"))
    clips = np.zeros((count, 16000), np.int16)
    for clip, index in zip(clips, np.linspace(0, len(paths) - 1, count).astype(int), strict=True):
        audio = soundfile.read(paths[index], dtype="int16", frames=16000)[0]
        clip[: len(audio)] = audio
    return clips


def test_geometry(preset: str) -> None:
    front_end = frontend.PRESETS[preset]
    shape = {"mfcc10": (49, 10), "logmel40": (98, 40)}.get(preset, (49, 40))
    assert (front_end.frames(16000), front_end.coefficients) == shape
    assert [front_end.frames(n) for n in (0, 479, 480, 480 + front_end.hop - 1, 480 + front_end.hop)] == [0, 0, 1, 1, 2]
    assert frontend.features(front_end, np.zeros(479, np.int16)).shape == (0, front_end.coefficients)
    assert features.extract(np.zeros((0, 16000), np.int16), preset).shape == (0, *shape)
    assert front_end.floor_codes[0] == -128
    assert np.float32(front_end.scale) == front_end.scale


def test_no_sound_overflows(preset: str) -> None:
    """The bounds in the specification, from the tables themselves."""
    tables = frontend.PRESETS[preset].tables
    loudest = (32768 * tables.window.astype(np.int64)) >> (frontend.WINDOW_BITS - frontend.FRACTION_BITS)
    assert 2 * loudest.sum() < 2**30  # a bin of twice the spectrum, and its split
    all_bins = 4 * 512 * int((loudest**2).sum())  # by Parseval; the sums hold half of them
    assert (all_bins // 2 >> frontend.POWER_SHIFT) << frontend.MEL_BITS < 2**63
    highest = (63 << frontend.LOG_BITS) - tables.floor_log
    reach = np.abs(tables.projection.astype(np.int64)).sum(axis=1) * highest + np.abs(tables.offset.astype(np.int64))
    assert highest < 2**16 and reach.max() < 2**31


def test_numpy_equals_c(preset: str) -> None:
    """Byte for byte; extract runs the C, each clip hop by hop."""
    sounds = extreme_audio()
    clips = np.stack(list(sounds.values()))
    for name, clip, by_c in zip(sounds, clips, features.extract(clips, preset), strict=True):
        np.testing.assert_array_equal(by_c, frontend.features(frontend.PRESETS[preset], clip), err_msg=name)


def test_numpy_equals_c_on_recordings(preset: str) -> None:
    clips = real_clips(60)
    by_numpy = np.stack([frontend.features(frontend.PRESETS[preset], clip) for clip in clips])
    np.testing.assert_array_equal(features.extract(clips, preset), by_numpy)


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_near_float(preset: str, count: int) -> None:
    """Against torchaudio in float64, before its rounding to codes."""
    pytest.importorskip("torch")
    from kws import float_frontend

    clips = real_clips(count)
    exact = np.stack([float_frontend.codes(frontend.PRESETS[preset], clip) for clip in clips]).clip(-128, 127)
    distance = np.abs(features.extract(clips, preset) - exact)
    assert distance.mean() <= 0.5
    assert (distance <= 2).mean() >= 0.999


def test_streams_are_independent_of_clip_length(preset: str) -> None:
    """A frame needs nothing but its own window: the features of a stream are those of its parts."""
    front_end = frontend.PRESETS[preset]
    stream = np.random.default_rng(2).normal(0, 2000, 16000 * 3).astype(np.int16)
    whole = features.extract(stream[None], preset)[0]
    later = features.extract(stream[None, 40 * front_end.hop :], preset)[0]
    np.testing.assert_array_equal(whole[40:], later)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_selftest(preset: str, compiler: tuple[str, ...]) -> None:
    sources = emit_frontend(frontend.PRESETS[preset])
    assert _library(sources, compiler).kws_frontend_selftest() == 0
    broken = {name: text.replace("#define FLOOR_LOG 2774", "#define FLOOR_LOG 2775") for name, text in sources.items()}
    assert broken != sources
    assert _library(broken, compiler).kws_frontend_selftest() != 0


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_undefined_behaviour(preset: str, compiler: tuple[str, ...]) -> None:
    """UBSan ends the process at the first finding; the control shows that it would."""
    sources = emit_frontend(frontend.PRESETS[preset])
    drive = """
#include <stdint.h>
int control(int32_t value);
int control(int32_t value) { return (int)(value + INT32_MAX); }
"""
    _present(compiler)
    library = build_shared_library({**sources, "control.c": drive}, sanitize=["undefined"], command=compiler)
    script = f"""
import ctypes, sys
import numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_frontend import extreme_audio
library = ctypes.CDLL({str(library)!r})
for clip in extreme_audio().values():
    library.kws_frontend_reset()
    for hop in clip.reshape(-1, {frontend.PRESETS[preset].hop}):
        library.kws_frontend_push(ctypes.c_void_p(hop.ctypes.data), ctypes.create_string_buffer(64))
assert library.kws_frontend_selftest() == 0
print("clean", flush=True)
library.control(1)
print("control passed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "clean\n", done.stderr
    assert done.returncode != 0


def test_generated_text(preset: str) -> None:
    sources = emit_frontend(frontend.PRESETS[preset], "ears")
    assert list(sources) == ["ears.h", "ears.c", "ears_tables.h", "ears_selftest.c"]
    for text in sources.values():
        assert "kws_frontend" not in text and "KWS_FRONTEND" not in text
        assert all("<stdint.h>" in line or '"ears' in line for line in text.splitlines() if "#include" in line)
        assert not any(word in text for word in ("malloc", "printf", "double"))
        assert max(map(len, text.splitlines())) <= 120
    assert FrontEndRenderer(frontend.PRESETS[preset]).arena_bytes == 2776
    assert "#define EARS_ARENA_BYTES 2776" in sources["ears.h"]


def test_header_in_cpp(preset: str, tmp_path: Path) -> None:
    _present(ZIG)
    header = tmp_path / "kws_frontend.h"
    header.write_text(emit_frontend(frontend.PRESETS[preset])["kws_frontend.h"])
    (tmp_path / "main.cpp").write_text('#include "kws_frontend.h"\nint main() { return kws_frontend_selftest(); }\n')
    flags = ["-target", "thumb-freestanding-eabi", "-Wall", "-Wextra", "-Werror", "-nostdinc++"]
    subprocess.run([*ZIG, *flags, "-c", "main.cpp", "-o", "main.o"], cwd=tmp_path, check=True)


def test_cache(preset: str, tmp_path: Path) -> None:
    clips = np.stack(list(extreme_audio().values()))
    first = features.cached(clips, features.Window(preset), tmp_path)
    np.testing.assert_array_equal(first, features.extract(clips, preset))
    (kept,) = tmp_path.iterdir()
    np.save(kept, first[::-1])
    again = features.cached(clips, features.Window(preset), tmp_path)
    np.testing.assert_array_equal(again, first[::-1])  # read, not computed
    clips[0, 0] += 1
    features.cached(clips, features.Window(preset), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # other audio, another name


@pytest.mark.parametrize(
    "clips", [np.zeros((2, 16001), np.int16), np.zeros((2, 16000), np.float32), np.zeros(16000, np.int16)]
)
def test_refusals(preset: str, clips: np.ndarray) -> None:
    with pytest.raises(InputError, match="accepted are int16"):
        features.extract(clips, preset)
    with pytest.raises(InputError, match="accepted are mfcc10, logmel40"):
        features.extract(clips, "fbank")


def _present(compiler: tuple[str, ...]) -> None:
    if not compiler[0]:
        pytest.skip("gcc is absent")
    if "ziglang" in compiler:
        pytest.importorskip("ziglang")


def _library(sources: dict[str, str], compiler: tuple[str, ...]) -> ctypes.CDLL:
    _present(compiler)
    return ctypes.CDLL(str(build_shared_library(sources, command=compiler)))
