"""The accuracy table: train, quantise after training and with fine-tuning, test; mean and standard error over seeds.

    python benchmarks/accuracy.py [--model ds-cnn-s] [--seeds 0,1,2] [--qat-epochs 3] [--out build/accuracy]
    python benchmarks/accuracy.py --model ds-cnn-m --seeds 0 --epochs 50 --teacher RUN...
    python benchmarks/accuracy.py --data WAVES/SpeechCommandsFull --front-end logmel40-4khz --views 30 [--exclude ""]

Runs live in OUT/<model>-<seed> as `kws train` writes them; what is finished is not done again, what was interrupted
goes on. The data are the recordings in ../shared/data/speech_commands, without on and off: the task of ten classes.
With the clips that were made from pictures (unpack.py --pictures there) there is enough of on and off, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from kws import models
from kws.data import task_options
from kws.data.corpus import CORE_WORDS
from kws.data.opening import open_corpus
from kws.data.task import Task, build
from kws.quantization.qat import Schedule
from kws.quantization.quantize import Comparison, quantize
from kws.training import checkpoint, train
from kws.training.checkpoint import Checkpoint
from kws.training.inference import features_of
from kws.training.recipe import Augmentation, Recipe
from mcu_codegen import files
from mcu_codegen.formats import tflite

EXCLUDED = ["on", "off"]  # the recordings hold too few training clips of them
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech_commands"


def trained(
    task: Task, model: str, preset: str, seed: int, folder: Path, recipe: Recipe, teachers: Sequence[Checkpoint] = ()
) -> Checkpoint:
    """The checkpoint of a finished run; an interrupted one goes on, a missing one is made."""
    metrics = folder / "metrics.csv"
    if metrics.exists() and len(metrics.read_text().splitlines()) == 1 + recipe.epochs:
        return checkpoint.load(folder / checkpoint.BEST)
    resume = (folder / train.LAST).exists()
    return train.train(task, model, preset, recipe, seed, folder, resume, teachers)


def measured(
    task: Task, held: Callable[[], Checkpoint], seed: int, qat_epochs: int, folder: Path
) -> dict[str, Comparison]:
    """Both ways of quantising one run, on the test clips; from FOLDER/accuracy.json where that was done before."""
    known = folder / "accuracy.json"
    if known.exists():
        return {way: Comparison(**values) for way, values in json.loads(known.read_text()).items()}
    network = held()
    codes = features_of(task.testing, network.window)
    results = {}
    for way, schedule in (("post-training", None), ("fine-tuned", Schedule(qat_epochs))):
        state = folder / "qat.pt"
        quantized = quantize(network, task, schedule=schedule, state=state, resume=state.exists(), seed=seed)
        files.write_whole(folder / f"{way}.tflite", tflite.write(quantized.graph))
        results[way] = quantized.compare(codes, task.testing.labels)
    files.write_whole(known, json.dumps({way: asdict(result) for way, result in results.items()}, indent=2) + "\n")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ds-cnn-s")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], metavar="RUN")
    parser.add_argument("--qat-epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy"))
    parser.add_argument("--data", default=str(DATA))
    parser.add_argument("--exclude", type=task_options.word_list, default=EXCLUDED, metavar="A,B")
    parser.add_argument("--front-end", metavar="NAME")
    parser.add_argument("--views", type=int, default=Augmentation.views, help="augmented copies of the training set")
    options = parser.parse_args()
    words = [word for word in CORE_WORDS if word not in options.exclude]
    task = build(open_corpus(options.data), words, options.exclude)
    recipe = replace(Recipe(), epochs=options.epochs, augmentation=Augmentation(options.views))
    preset = options.front_end or models.find(options.model).front_end
    teachers = [checkpoint.load(checkpoint.of_run(each)) for each in options.teacher]
    runs = []
    for seed in map(int, options.seeds.split(",")):
        folder = options.out / f"{options.model}-{seed}"
        held = partial(trained, task, options.model, preset, seed, folder, recipe, teachers)
        runs.append(measured(task, held, seed, options.qat_epochs, folder))
    print(f"{options.model}, {len(runs)} seeds, {len(task.testing)} test clips, {len(task.labels)} classes")
    for way in runs[0]:
        columns = {
            "float": [run[way].float_accuracy for run in runs],
            "fake-quant": [run[way].fake_quant_accuracy for run in runs],
            "int8": [run[way].int8_accuracy for run in runs],
            "int8 - float": [run[way].int8_accuracy - run[way].float_accuracy for run in runs],
            "int8 = fake-quant": [run[way].int8_agrees_with_fake_quant for run in runs],
        }
        for name, values in columns.items():
            each = " ".join(f"{value:7.2%}" for value in values)
            error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2%}" if len(values) > 1 else ""
            print(f"{way:<14} {name:<18} {each}   mean {np.mean(values):7.2%}{error}")


if __name__ == "__main__":
    main()
