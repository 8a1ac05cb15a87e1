"""The JSON by which a ``.tflite`` names its front end, labels, decision, gates and exits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..errors import InputError
from .names import printable

MAX_METADATA_BYTES = 1 << 20

METADATA = "mcu_codegen"
"""Name of the metadata block that holds front end, labels, decision, gates, exits and the like as JSON."""

INITIAL = METADATA + ".initial."
"""+ the tensor's index: the initial value of a persistent tensor, since LiteRT refuses a variable with a buffer."""

_TYPES = {
    "front_end": str,
    "seconds": float,
    "labels": list,
    "decision": dict,
    "target_fa": float,
    "gates": list,
    "model": str,
    "words": list,
    "exits": dict,
    "streaming": bool,
}


def read_metadata(block: np.ndarray) -> dict[str, Any]:
    """What the block METADATA, uint8[n], says. Raises InputError."""
    try:
        return _checked(block)
    except InputError as error:
        raise InputError(f"metadata {METADATA}: {error}") from None


def _checked(block: np.ndarray) -> dict[str, Any]:
    if len(block) > MAX_METADATA_BYTES:
        raise InputError(f"larger than {MAX_METADATA_BYTES} bytes")
    try:
        values = json.loads(bytes(block))
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()  # refuses NaN, infinity, lone surrogates
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({printable(str(error))})") from None
    if not isinstance(values, dict):
        raise InputError(f"{type(values).__name__}; an object is accepted")
    for key, kind in _TYPES.items():
        if key in values and not isinstance(values[key], kind):
            raise InputError(f"{key} is {type(values[key]).__name__}; {kind.__name__} is accepted")
    if not all(isinstance(label, str) for label in values.get("labels", [])):
        raise InputError("a label is not a string")
    return values
