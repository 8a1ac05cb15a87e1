"""Malformed .tflite files by the thousand: every one is accepted or refused with an InputError, in bounded memory.

    python tests/fuzz_tflite.py --seed 1 --count 200000

Half of the mutations hit the bytes (truncation, bit flips, overwritten offsets, moved blocks), half the values inside
a sound container (indices, shapes, scales, options, order of tables). The process may take 1 GiB of address space and
10 seconds per file. A file that breaks a rule is kept in --keep, with the traceback printed, and the status is 1.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from original_files import chain_file, rewritten_file, small_graph

from mcu_codegen.errors import InputError
from mcu_codegen.formats import flatbuffer, tflite
from mcu_codegen.formats.tflite_schema import IDENTIFIER, SCHEMA
from mcu_codegen.lower import lower

MEMORY_BYTES = 1 << 30
SECONDS_PER_FILE = 10  # of processor time, for a busy machine must not look like a hang


def examine(data: bytes) -> bool:
    """Whether `data` is accepted; every operator of what is accepted is lowered, or refused as well."""
    try:
        graph = tflite.read_bytes(data, "fuzzed.tflite")
    except InputError as error:
        assert str(error).startswith("fuzzed.tflite: ") and "\n" not in str(error), error
        return False
    for entry in graph.entries:
        for layer, operator in graph.layers(entry):
            try:
                lower(graph, operator, layer)
            except InputError as error:
                assert str(error).startswith(layer) and "\n" not in str(error), error
    return True


def examine_again(data: bytes) -> None:
    """`examine` what is written of an accepted file, but for layers that were uint8, which cannot be written."""
    graph = tflite.read_bytes(data, "accepted.tflite")
    try:
        written = tflite.write(graph)
    except InputError as error:
        assert "no file holds" in str(error), error
    else:
        examine(written)


def mutate_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes to the bytes."""
    result = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = len(result)
        if size < 8:
            break
        place, length = int(rng.integers(size)), int(rng.integers(1, 64))
        match rng.integers(7):
            case 0:
                del result[place:]
            case 1:
                result[place] ^= 1 << rng.integers(8)
            case 2:  # offsets, lengths and indices are 32 bits wide and aligned
                number = int(rng.choice([0, 1, 4, 255, size, size - place, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1]))
                place = min(place, size - 4) & ~3
                result[place : place + 4] = number.to_bytes(4, "little")
            case 3:
                result[place : place + length] = rng.bytes(length)
            case 4:
                result[place : place + length] = bytes(length)
            case 5:
                source = int(rng.integers(size))
                result[place : place + length] = result[source : source + length]
            case 6:
                del result[place : place + length]
    return bytes(result)


_INTEGERS = [-(2**31), -65536, -129, -2, -1, 0, 1, 2, 3, 5, 9, 127, 128, 255, 4096, 65536, 2**24, 2**30, 2**31 - 1]
_REALS = [0.0, -1.0, 1e-45, 1e-38, 1e-20, 1e-6, 1 / 256, 0.5, 1.0, 1e6, 1e20, 3e38, np.inf, -np.inf, np.nan]
_RANGES = {"bool": (0, 1)} | {name: (np.iinfo(name).min, np.iinfo(name).max) for name in ("int8", "uint8", "int32")}


def mutate_values(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes to values of the decoded file, which is then written again: the container stays sound."""
    model = flatbuffer.read(data, SCHEMA, IDENTIFIER)
    for _ in range(rng.integers(1, 4)):
        places = list(_places(model, SCHEMA.root))
        table, field_name, kind = places[rng.integers(len(places))]
        table[field_name] = _changed(table[field_name], kind, rng)
    return flatbuffer.write(model, SCHEMA, IDENTIFIER)


def _places(table: dict[str, Any], name: str) -> Any:
    """(table, field name, type) of every field below `table` that may be changed."""
    for field_name, field in SCHEMA.tables[name].items():
        kind, value = field.type, table[field_name]
        if kind in SCHEMA.unions:
            kind = SCHEMA.unions[kind].get(table[f"{field_name}_type"], "")
        if isinstance(value, dict):
            yield from _places(value, kind)
        elif isinstance(value, list):
            yield table, field_name, kind
            for item in value:
                yield from _places(item, kind[1:-1])
        elif value is not None and not (field_name.endswith("_type") and field_name.removesuffix("_type") in table):
            yield table, field_name, kind


def _number(kind: str, rng: np.random.Generator) -> Any:
    if kind.startswith("float"):
        return float(rng.choice(_REALS))
    low, high = _RANGES.get(kind, (0 if kind.startswith("u") else -(2**31), 2**31 - 1))
    return int(np.clip(rng.choice(_INTEGERS), low, high))


def _changed(value: Any, kind: str, rng: np.random.Generator) -> Any:
    if kind == "string":
        return "".join(map(chr, rng.integers(1, 0x3000, rng.integers(0, 20))))
    if isinstance(value, list):
        again = bool(value) and bool(rng.integers(2))
        order = rng.integers(0, len(value), rng.integers(0, len(value) + 2)) if again else None
        return [value[index] for index in (rng.permutation(len(value)) if order is None else order)]
    if not isinstance(value, np.ndarray):
        return _number(kind, rng)
    numbers = value.tolist()
    if numbers and rng.integers(3):
        numbers[rng.integers(len(numbers))] = _number(kind[1:-1], rng)
    elif numbers and rng.integers(2):
        numbers = numbers[: rng.integers(len(numbers))]
    else:
        numbers += [_number(kind[1:-1], rng) for _ in range(rng.integers(1, 12))]
    return np.array(numbers, kind[1:-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--model", type=Path, help="the file to mutate (default: small ones with every operator)")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for files that break a rule")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_slow)
    originals = [tflite.write(small_graph()), chain_file(), rewritten_file()]
    if options.model:
        originals = [options.model.read_bytes()]
    assert all(examine(original) for original in originals), "the unchanged files must be accepted"
    rng = np.random.default_rng(options.seed)
    accepted, broken = 0, 0
    for number in range(options.count):
        original = originals[number // 2 % len(originals)]
        data = (mutate_bytes, mutate_values)[number % 2](original, rng)
        signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_FILE)
        try:
            if examine(data):
                accepted += 1
                examine_again(data)
        except Exception:
            broken += 1
            traceback.print_exc()
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{options.seed}_{number}.tflite").write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{options.count} files: {accepted} accepted, {options.count - accepted - broken} refused, {broken} broken")
    print(f"peak memory {peak} MiB")
    return 1 if broken else 0


def _too_slow(signum: int, frame: object) -> None:
    raise TimeoutError(f"more than {SECONDS_PER_FILE} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
