"""Recorded files to int16 at 16 kHz, and the decoded recordings of a corpus kept on disk."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import soundfile
from tqdm import tqdm

from mcu_codegen.errors import InputError

RATE = 16000  # samples per second, of every array in this package

Samples = npt.NDArray[np.int16]
T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int, unit: str) -> Iterable[T]:
    """`items`, with a bar on standard error once it takes longer than two seconds; seldom redrawn in a log file."""
    return tqdm(items, title, total, unit=unit, delay=2, mininterval=0.2 if sys.stderr.isatty() else 10)


def to_int16(signal: npt.NDArray[np.floating]) -> Samples:
    """Full scale -1..1 to int16, rounded and clipped."""
    return np.clip(np.rint(signal * 32768.0), -32768, 32767).astype(np.int16)


@lru_cache(maxsize=8)
def _polyphase(up: int, down: int) -> npt.NDArray[np.float32]:
    """The filters of a rate change by up/down, float32[up, taps]: one per output phase, an odd number of taps each."""
    zeros, beta = 24, 8.0  # zero crossings on each side; Kaiser window: about 80 dB of stop band
    cutoff = 0.95 * min(1.0, up / down)  # of the input's Nyquist frequency
    half = math.ceil(zeros / cutoff)
    fraction = np.arange(up) * down % up / up  # of a sample that each phase lies behind its centre tap
    distance = np.arange(-half, half + 1) - fraction[:, None]
    window = np.i0(beta * np.sqrt(np.clip(1 - (distance / (half + 1)) ** 2, 0, 1))) / np.i0(beta)
    taps = cutoff * np.sinc(cutoff * distance) * window
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


def resample(signal: npt.NDArray[np.float32], rate: int, target: int = RATE) -> npt.NDArray[np.float32]:
    """Band-limited rate change of float32[n] from `rate` to `target` Hz, in step: ceil(n*target/rate) samples."""
    if rate == target:
        return signal
    common = math.gcd(rate, target)
    up, down = target // common, rate // common
    filters = _polyphase(up, down)
    half = filters.shape[1] // 2
    length = -(-len(signal) * up // down)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, (half, half + down)), filters.shape[1])
    out = np.empty(length, np.float32)
    for phase, taps in enumerate(filters[:length]):
        count = -(-(length - phase) // up)
        out[phase::up] = windows[phase * down // up :: down][:count] @ taps
    return out


def _refuse_truncated_wav(path: Path) -> None:
    """libsndfile reads a cut wav without a word; compare what its header promises with what is there."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return
        size, position = path.stat().st_size, 12
        while position + 8 <= size:
            file.seek(position)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            held = size - position - 8
            if name == b"data":
                if length > held and length != 0xFFFFFFFF:  # that value: a stream of unknown length
                    raise InputError(
                        f"{path}: truncated wav, its header promises {length} bytes of audio, {held} are there"
                    )
                return
            position += 8 + length + length % 2
    raise InputError(f"{path}: truncated wav, no audio after its header")


def read(path: Path) -> tuple[Samples, int]:
    """One audio file as int16[n] at 16 kHz, mixed down to mono, and the rate it was stored at.

    Raises InputError naming the file where it is missing, unreadable, truncated or empty.
    """
    try:
        _refuse_truncated_wav(path)
        with soundfile.SoundFile(path) as file:
            promised, rate = file.frames, file.samplerate
            signal = file.read(dtype="float32", always_2d=True)  # float: a loud Ogg must clip, not wrap round
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{path}: cannot read as audio ({error}); wav, flac and ogg are accepted") from None
    if len(signal) == 0:
        raise InputError(f"{path}: zero-length clip")
    if not np.isfinite(signal).all():
        raise InputError(f"{path}: holds NaN or infinite samples")
    if len(signal) < promised:
        raise InputError(f"{path}: truncated, its header promises {promised} samples, {len(signal)} could be read")
    return to_int16(resample(signal.mean(axis=1, dtype=np.float32), rate)), rate


@dataclass(frozen=True)
class Recordings:
    """int16 recordings of any length, one after the other in one memory-mapped file."""

    samples: Samples
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Samples:
        """Recording `index` from 0 on, int16[n]."""
        return self.samples[self.ends[index - 1] if index else 0 : self.ends[index]]

    @staticmethod
    def write(folder: Path, recordings: Iterable[Samples]) -> None:
        """Write them into `folder` as ``samples.i16`` and ``ends.npy``."""
        ends = []
        with (folder / "samples.i16").open("wb") as file:
            for recording in recordings:
                file.write(np.ascontiguousarray(recording, "<i2").data)
                ends.append(file.tell() // 2)
        np.save(folder / "ends.npy", np.array(ends, np.int64))

    @staticmethod
    def open(folder: Path) -> Recordings:
        """What `write` wrote, memory-mapped."""
        ends = np.load(folder / "ends.npy")
        samples = np.memmap(folder / "samples.i16", "<i2", "r") if len(ends) else np.zeros(0, np.int16)
        return Recordings(samples, ends)


def cache_folder() -> Path:
    """Where decoded audio is kept: $KWS_CACHE, else kws-mcu in $XDG_CACHE_HOME or ~/.cache. It can be deleted."""
    chosen = os.environ.get("KWS_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kws-mcu"


def cached(kind: str, parts: Iterable[object], build: Callable[[Path], None]) -> Path:
    """The cache folder for `kind` and the content that `parts` identify; `build` fills it the first time.

    Built beside and renamed, so an interrupted build leaves nothing that looks finished.
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]
    folder = cache_folder() / f"{kind}-{digest}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{kind}-", dir=folder.parent, ignore_cleanup_errors=True) as beside:
            content = Path(beside, "content")
            content.mkdir()
            build(content)
            if not folder.is_dir():  # otherwise another process was quicker: its content is the same
                content.rename(folder)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot write the cache ({error.strerror or error}); set KWS_CACHE"
        ) from None
    return folder


def identify(paths: Iterable[Path]) -> Iterator[str]:
    """Name, size and time of change of every file: what tells the cache that a recording changed."""
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot read ({error.strerror})") from None
        yield f"{path}:{status.st_size}:{status.st_mtime_ns}"


def decode(paths: Sequence[Path], title: str) -> Recordings:
    """Every file of `paths` decoded on all cores the first time, from the cache afterwards.

    Says on standard error, once, how many files had another rate than 16 kHz.
    """

    def build(folder: Path) -> None:
        rates: Counter[int] = Counter()

        def decoded() -> Iterator[Samples]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                try:
                    for samples, rate in progress(pool.map(read, paths), f"reading {title}", len(paths), "file"):
                        rates[rate] += 1
                        yield samples
                finally:
                    pool.shutdown(cancel_futures=True)

        Recordings.write(folder, decoded())
        others = ", ".join(f"{count} from {rate} Hz" for rate, count in sorted(rates.items()) if rate != RATE)
        if others:
            print(f"{title}: resampled to {RATE} Hz: {others}", file=sys.stderr)

    return Recordings.open(cached("audio", ["1", *identify(paths)], build))


def extent(clip: Samples) -> tuple[int, int]:
    """From which sample to which a word sounds in its clip: all but 1 % of the energy above the noise at each end."""
    size = RATE // 50
    count = max(1, len(clip) // size)
    energy = np.square(np.resize(clip, count * size).astype(np.float64)).reshape(count, size).mean(1)
    passed = np.cumsum(np.maximum(energy - 2 * np.percentile(energy, 10), 0))
    if passed[-1] <= 0:
        return 0, len(clip)
    first, last = np.searchsorted(passed, [0.01 * passed[-1], 0.99 * passed[-1]])
    return int(first) * size, min(int(last + 1) * size, len(clip))
