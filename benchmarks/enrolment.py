"""How long enrolment takes: one user by `kws enroll`'s way, and many through the generated C on all cores.

    python benchmarks/enrolment.py MODEL.tflite [--users 10000] [--clips 10] [--data FOLDER]

MODEL is a gated model of `kws quantize`. The utterances are test clips of the corpus, again and again; their features
are made before the clock starts. Prints seconds, and how many multiply-accumulates a second a core did.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from kws.data.opening import open_corpus
from kws.data.task import build
from kws.quantization.quantize import enrolment_of
from kws.training.inference import features_of, window_of
from mcu_codegen.emit.cortex_m.instruction_sets import SWITCHABLE
from mcu_codegen.emit.model import emit_model
from mcu_codegen.emit.plan import compile_plan
from mcu_codegen.emulate import host
from mcu_codegen.formats import tflite
from mcu_codegen.users import gates
from mcu_codegen.users.user import User

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"

_MANY = """
#include "kws_model.h"
#include "kws_model_user.h"

void many(const int8_t *features, uint32_t users, uint32_t clips, uint8_t *gates);

/* Enrol `users` users of `clips` utterances each; their gates go one behind the other. */
void many(const int8_t *features, uint32_t users, uint32_t clips, uint8_t *gates)
{
    static int8_t $logits;
    static kws_model_enrolment enrolment;
    static kws_model_user user;

    kws_model_reset();
    while (users-- > 0u) {
        kws_model_enrolment_begin(&enrolment);
        for (uint32_t clip = 0; clip < clips; clip++) {
            kws_model_enrol(features, $names);
            (void)kws_model_enrolment_add(&enrolment, $names);
            features += KWS_MODEL_INPUT_BYTES;
        }
        kws_model_user_reset(&user);
        (void)kws_model_enrolment_finish(&enrolment, &user);
        for (uint32_t i = 0; i < sizeof user.gates; i++) {
            *gates++ = user.gates[i];
        }
    }
}
"""


def _run(library: str, codes: np.ndarray, size: int) -> np.ndarray:
    """The packed gates of users, uint8[users, size], of codes int8[users, clips, ...]; in a process of its own, for
    the arena is one of the process."""
    packed = np.zeros((len(codes), size), np.uint8)
    call = ctypes.CDLL(library).many
    call(codes.ctypes.data_as(ctypes.c_void_p), len(codes), codes.shape[1], packed.ctypes.data_as(ctypes.c_void_p))
    return packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--exclude", default="on,off")
    options = parser.parse_args()
    model, enrolment = tflite.read(options.model), tflite.read(enrolment_of(options.model))
    task = build(open_corpus(options.data), model.metadata["labels"][2:], options.exclude.split(","))
    spoken = np.flatnonzero(task.testing.labels > 0)

    started = time.perf_counter()
    codes = window_of(model).extract(task.testing.audio[spoken[: options.clips]])
    User.enrol(model, enrolment, codes[:, np.newaxis, ..., np.newaxis]).gates(gates.groups(model))
    print(f"one user, {options.clips} clips, from audio to gates, NumPy: {time.perf_counter() - started:.3f} s")

    listed = gates.groups(model)
    renderer = SWITCHABLE["portable"]("speed", model, enrolment, gates.all_open(listed))
    joined = gates.join(model, enrolment)
    sources = emit_model(joined, renderer=renderer)
    del sources["kws_model_selftest.c"]
    names = [f"logits_{number}" for number in range(len(listed))]
    logits = ", ".join(f"{name}[{group.count}]" for name, group in zip(names, listed, strict=True))
    sources["many.c"] = _MANY.replace("$logits", logits).replace("$names", ", ".join(names))
    library = str(host.build_shared_library(sources))
    macs = sum(layer.kernel.macs for layer in compile_plan(joined, renderer).of(joined.entries[1]))

    every = features_of(task.testing, window_of(model))[spoken]
    rows = np.random.default_rng(0).integers(len(every), size=(options.users, options.clips))
    cores = os.cpu_count() or 1
    parts = [np.ascontiguousarray(every[part]) for part in np.array_split(rows, cores)]
    size = -(-sum(group.count for group in listed) // 8)
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_run, [library] * cores, [part[:1] for part in parts], [size] * cores))  # start the processes
        started = time.perf_counter()
        packed = np.concatenate(list(pool.map(_run, [library] * cores, parts, [size] * cores)))
        seconds = time.perf_counter() - started
    utterances = options.users * options.clips
    print(
        f"{options.users:,} users, {options.clips} clips each, generated C, {cores} processes: {seconds:.1f} s;"
        f" {utterances * macs / 1e9:.0f} GMAC, {utterances * macs / seconds / cores / 1e9:.2f} GMAC/s a core;"
        f" {len(np.unique(packed, axis=0)):,} different sets of gates"
    )
    wanted = User.enrol(model, enrolment, every[rows[0]][:, np.newaxis, ..., np.newaxis])
    same = np.concatenate(wanted.gates(listed)) == np.unpackbits(packed[0], bitorder="little")[: 8 * size].astype(bool)
    print(f"the first user's gates are Python's: {bool(same.all())}")


if __name__ == "__main__":
    main()
