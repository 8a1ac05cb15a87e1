"""torchaudio, also where its extension cannot load. Import it from here: ``from .torchaudio_import import torchaudio``.

torchaudio 2.11's extension links CUDA, so that beside a CPU-only torch the import fails with an OSError. Nothing here
needs the extension; a stub in its place lets the rest load.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType


def _without_extension() -> ModuleType:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]

    def refuse_alignment(function: Callable) -> Callable:
        def refuse(*_: object, **__: object) -> None:
            raise RuntimeError(f"torchaudio's {function.__name__} needs its extension, which does not load here")

        return refuse

    stub = ModuleType("torchaudio._extension")
    vars(stub).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=refuse_alignment,
        _check_cuda_version=lambda: None,
    )
    sys.modules[stub.__name__] = stub
    return importlib.import_module("torchaudio")


try:
    torchaudio = importlib.import_module("torchaudio")
except OSError:
    torchaudio = _without_extension()
