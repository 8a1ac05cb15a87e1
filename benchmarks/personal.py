"""The whole personal table: trains what it needs, then judges every method on the test speakers, in float and in int8.

    python benchmarks/personal.py [--seeds 0,1,2] [--out build/accuracy]

Networks lie in OUT as benchmarks/accuracy.py trains them, and are not trained again. The speakers are those of the
testing split with three clips of each word or more. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from accuracy import DATA, EXCLUDED, WORDS, trained

from kws import checkpoint, cli
from kws.data import task as task_options
from kws.data.corpus import open_corpus
from kws.personalize.gate_training import GATED, GateRecipe, train_gates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ds-cnn-s")
    parser.add_argument("--small", default="ds-cnn-xs", help="trained from scratch, of about as many MACs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--gate-size", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--data", default=str(DATA))
    options = parser.parse_args()
    task = task_options.build(open_corpus(options.data), WORDS, EXCLUDED)
    gated = []
    for seed in map(int, options.seeds.split(",")):
        held = trained(task, options.model, seed, options.out / f"{options.model}-{seed}")
        trained(task, options.small, seed, options.out / f"{options.small}-{seed}")
        folder = options.out / f"{options.model}-gates{options.gate_size}-{seed}"
        gated.append(str(folder))
        if not (folder / GATED).exists():
            checkpoint.save(folder / checkpoint.BEST, held)
            train_gates(held, task, GateRecipe(), options.gate_size, seed, folder, resume=True)
    small = [str(options.out / f"{options.small}-{seed}") for seed in options.seeds.split(",")]
    for numbers in ([], ["--int8"]):
        print(f"\n== {'int8' if numbers else 'float'}\n", flush=True)
        results = str(options.out / ("personal-int8" if numbers else "personal"))
        common = ["--personal", "--data", options.data, "--exclude", ",".join(EXCLUDED), "--out", results]
        cli.main(["evaluate", *gated, *common, "--small", *small, *numbers])


if __name__ == "__main__":
    main()
