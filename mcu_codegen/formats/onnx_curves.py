"""Functions of one value in float32, as ONNX defines them; those that are more than sums and products are rounded
correctly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from .onnx_file import Node
from .onnx_values import Function, Value, named

Clamp = tuple[float, float]
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def _exact(function: Callable[[np.ndarray], np.ndarray]) -> Function:
    """`function` in float64, rounded to float32."""
    return lambda real: function(real.astype(np.float64)).astype(np.float32)


def _logistic(real: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-real))


def _softplus(real: np.ndarray) -> np.ndarray:
    return np.logaddexp(real, 0)


def _gelu(real: np.ndarray) -> np.ndarray:
    return real / 2 * (1 + _ERF(real / math.sqrt(2)))


_PLAIN: dict[str, Function] = {
    "Relu": lambda real: np.maximum(real, np.float32(0)),
    "Abs": np.abs,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sign": np.sign,
    "Softsign": lambda real: real / (1 + np.abs(real)),
    "Sigmoid": _exact(_logistic),
    "Tanh": _exact(np.tanh),
    "Exp": _exact(np.exp),
    "Log": _exact(np.log),
    "Erf": _exact(_ERF),
    "Softplus": _exact(_softplus),
    "Mish": _exact(lambda real: real * np.tanh(_softplus(real))),
    "HardSwish": lambda real: real * np.clip(real / np.float32(6) + np.float32(0.5), 0, 1).astype(np.float32),
}


def _hard_sigmoid(node: Node) -> Function:
    alpha, beta = np.float32(node.real("alpha", 0.2)), np.float32(node.real("beta", 0.5))
    return lambda real: np.clip(alpha * real + beta, 0, 1)


def _leaky_relu(node: Node) -> Function:
    alpha = np.float32(node.real("alpha", 0.01))
    return lambda real: np.where(real < 0, alpha * real, real)


def _elu(node: Node) -> Function:
    alpha = float(np.float32(node.real("alpha", 1.0)))
    return _exact(lambda real: np.where(real < 0, alpha * np.expm1(np.minimum(real, 0)), real))


def _selu(node: Node) -> Function:
    alpha, gamma = node.real("alpha", 1.67326319217681884765625), node.real("gamma", 1.05070102214813232421875)
    return _exact(lambda real: gamma * np.where(real < 0, alpha * np.expm1(np.minimum(real, 0)), real))


def _celu(node: Node) -> Function:
    alpha = node.real("alpha", 1.0)
    if not alpha > 0:
        raise InputError(f"alpha {alpha}")
    return _exact(lambda real: np.where(real < 0, alpha * np.expm1(np.minimum(real, 0) / alpha), real))


def _gelu_of(node: Node) -> Function:
    if node.text("approximate", "none") == "none":
        return _exact(_gelu)
    factor = math.sqrt(2 / math.pi)
    return _exact(lambda real: real / 2 * (1 + np.tanh(factor * (real + 0.044715 * real**3))))


_WITH_ATTRIBUTES: dict[str, Callable[[Node], Function]] = {
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "Gelu": _gelu_of,
}

CURVES = (*_PLAIN, *_WITH_ATTRIBUTES, "Clip")
"""Kinds of nodes."""


def curve(node: Node, values: Sequence[Value | None]) -> tuple[Function, Clamp | None]:
    """The function that `node` computes, and the clamp that it is, if it is one. Raises InputError."""
    if node.kind == "Clip":
        low, high = (_limit(node, values, number, name) for number, name in ((1, "min"), (2, "max")))
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        return lambda real: np.minimum(np.maximum(real, np.float32(low)), np.float32(high)), (low, high)
    if node.kind in _WITH_ATTRIBUTES:
        return _WITH_ATTRIBUTES[node.kind](node), None
    return _PLAIN[node.kind], (0.0, np.inf) if node.kind == "Relu" else None


def _limit(node: Node, values: Sequence[Value | None], number: int, name: str) -> float | None:
    """An attribute, or since later an input."""
    value = values[number] if number < len(values) else None
    if name in node.attributes:
        return node.real(name, 0.0)
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.size != 1 or np.isnan(value.astype(np.float64)).any():
        raise InputError(f"{name} {named(node, number)} is not a constant number")
    return float(value.reshape(()))
