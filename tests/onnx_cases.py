"""Every kind of ONNX node that is read, each in a small branch of one file."""

from __future__ import annotations

from typing import Any

from onnx_models import Build, OnnxFile

IMAGE, SIGNAL, ROW = (1, 6, 9, 8), (1, 6, 20), (2, 30)


def _plain(kind: str, **attributes: Any) -> Build:
    return lambda file, x: file.node(kind, x, **attributes)


def _conv(channels: int, taps: tuple[int, ...], groups: int = 1, axis: int | None = 0, **attributes: Any) -> Build:
    def build(file: OnnxFile, x: str) -> str:
        return file.node("Conv", x, file.weights(channels, 6 // groups, *taps, axis=axis), group=groups, **attributes)

    return build


def _after(build: Build, kind: str, *constants: Any, **attributes: Any) -> Build:
    """A node behind what `build` gives, with constants as its further inputs."""

    def both(file: OnnxFile, x: str) -> str:
        value = build(file, x)
        return file.node(kind, value, *(file.constant(each, "float32") for each in constants), **attributes)

    return both


def _other(kind: str) -> Build:
    """Of the input and a quantised convolution of it."""

    def build(file: OnnxFile, x: str) -> str:
        return file.node(kind, x, file.quantized(_conv(6, (1, 1))(file, x), 0.07, 9))

    return build


def _given(kind: str, *lists: Any, **attributes: Any) -> Build:
    """With constant integers as further inputs."""
    return lambda file, x: file.node(kind, x, *(file.constant(each, "int64") for each in lists), **attributes)


def _biased(file: OnnxFile, x: str) -> str:
    bias = file.constant(file.rng.normal(0, 1, 8), "float32")
    return file.node("Conv", x, file.weights(8, 6, 1, 1), bias)


def _quantized_bias(file: OnnxFile, x: str) -> str:
    """On another scale than that of input times weights."""
    scale, codes = file.constant(0.003, "float32"), file.constant(file.rng.integers(-900, 900, 8), "int32")
    return file.node("Conv", x, file.weights(8, 6, 1, 1), file.node("DequantizeLinear", codes, scale))


def _added_bias(file: OnnxFile, x: str) -> str:
    return file.node("Add", _conv(8, (3, 3))(file, x), file.constant(file.rng.normal(0, 1, (8, 1, 1)), "float32"))


def _weights_made_here(file: OnnxFile, x: str) -> str:
    """Float weights that the file quantises itself, as training that knows of quantisation exports them."""
    weights, scales = file.rng.normal(0, 1, (8, 6, 3, 3)), file.constant(file.rng.uniform(0.01, 0.02, 8), "float32")
    codes = file.node(
        "QuantizeLinear", file.constant(weights, "float32"), scales, file.constant([0] * 8, "int8"), axis=0
    )
    return file.node("Conv", x, file.node("DequantizeLinear", codes, scales, file.constant([0] * 8, "int8"), axis=0))


def _unsigned_weights(file: OnnxFile, x: str) -> str:
    scales = file.constant(0.01, "float32"), file.constant(128, "uint8")
    codes = file.constant(file.rng.integers(1, 256, (8, 6, 3, 3)), "uint8")
    return file.node("Conv", x, file.node("DequantizeLinear", codes, *scales))


def _transposed_convolution(file: OnnxFile, x: str) -> str:
    weights = file.weights(6, 4, 3, 3, axis=1)
    return file.node("ConvTranspose", x, weights, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])


def _gemm(transposed: bool) -> Build:
    def build(file: OnnxFile, x: str) -> str:
        weights = file.weights(8, 30) if transposed else file.weights(30, 8, axis=1)
        return file.node("Gemm", x, weights, file.constant(file.rng.normal(0, 1, 8), "float32"), transB=int(transposed))

    return build


def _matmul(file: OnnxFile, x: str) -> str:
    """PyTorch's linear layer of more axes: weights transposed, the bias added behind."""
    weights = file.node("Transpose", file.weights(8, 20), perm=[1, 0])
    return file.node("Add", file.node("MatMul", x, weights), file.constant(file.rng.normal(0, 1, 8), "float32"))


def _flattened(file: OnnxFile, x: str) -> str:
    """An image that lies otherwise in memory than the file says: the weights are permuted, nothing is moved."""
    image = file.quantized(_conv(8, (3, 3))(file, x), 0.1)
    return file.node("Gemm", file.node("Flatten", image), file.weights(5, 8 * 7 * 6, scale=0.001), transB=1)


def _gate(file: OnnxFile, x: str) -> str:
    mean = file.quantized(file.node("GlobalAveragePool", x), 0.02)
    gate = file.quantized(file.node("Sigmoid", file.quantized(_conv(6, (1, 1))(file, mean), 0.05)), 1 / 256, -128)
    return file.node("Mul", x, gate)


def _silu(file: OnnxFile, x: str) -> str:
    return file.node("Mul", x, file.node("Sigmoid", x))


def _hard_swish_in_parts(file: OnnxFile, x: str) -> str:
    three, low, six = (file.constant(value, "float32") for value in (3, 0, 6))
    return file.node("Div", file.node("Mul", x, file.node("Clip", file.node("Add", x, three), low, six)), six)


def _shuffled(file: OnnxFile, x: str) -> str:
    """Channels of two groups, one after the other in turn."""
    apart = file.node("Reshape", x, file.constant((1, 2, 3, 9, 8), "int64"))
    turned = file.node("Transpose", apart, perm=[0, 2, 1, 3, 4])
    together = file.node("Reshape", turned, file.constant(IMAGE, "int64"))
    return _conv(8, (1, 1))(file, together)


def _turned_image(file: OnnxFile, x: str) -> str:
    turned = file.node("Transpose", _conv(8, (3, 3))(file, x), perm=[0, 2, 1, 3])
    shape = file.node("Shape", turned)
    rows = file.node("Gather", shape, file.constant([1], "int64"))
    return file.node(
        "Reshape", turned, file.node("Concat", file.constant([1], "int64"), rows, file.constant([-1], "int64"), axis=0)
    )


def _joined(file: OnnxFile, x: str) -> str:
    """Values of two scales, and one that is not quantised before."""
    quantized = file.quantized(_conv(4, (1, 1))(file, x), 0.07, 9)
    return file.node("Concat", x, quantized, file.node("Relu", _conv(2, (1, 1))(file, x)), axis=1)


def _split(file: OnnxFile, x: str) -> str:
    first, second = file.node("Split", x, file.constant((2, 4), "int64"), outputs=2, axis=1)
    return file.node("Concat", second, first, axis=1)


def _sliced(file: OnnxFile, x: str) -> str:
    return _given("Slice", (1, 2), (5, -1), (1, 3), (2, 1))(file, x)


def _resized(mode: str, *scales: float, **attributes: Any) -> Build:
    def build(file: OnnxFile, x: str) -> str:
        return file.node("Resize", x, "", file.constant((1, 1, *scales), "float32"), mode=mode, **attributes)

    return build


def _prelu(file: OnnxFile, x: str) -> str:
    return file.node("PRelu", x, file.weights(6, 1, 1, axis=None))


def _clip_of_codes(file: OnnxFile, x: str) -> str:
    return file.node("Clip", x, file.constant(-1, "float32"), file.constant(2, "float32"))


_CONVOLVED = _conv(8, (3, 3))

CASES: dict[str, tuple[tuple[int, ...], Build, int]] = {
    "convolution": (IMAGE, _conv(8, (3, 3), pads=[1, 1, 1, 1]), 1),
    "stride": (IMAGE, _conv(8, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1]), 1),
    "one scale, dilation": (IMAGE, _conv(8, (3, 2), axis=None, dilations=[2, 1]), 1),
    "float bias": (IMAGE, _biased, 1),
    "bias on another scale": (IMAGE, _quantized_bias, 1),
    "bias added": (IMAGE, _added_bias, 1),
    "weights quantised in the file": (IMAGE, _weights_made_here, 1),
    "unsigned weights": (IMAGE, _unsigned_weights, 1),
    "depthwise": (IMAGE, _conv(6, (3, 3), 6, pads=[1, 1, 1, 1]), 1),
    "depthwise, multiplied": (IMAGE, _conv(12, (3, 3), 6, auto_pad="SAME_UPPER", strides=[2, 2]), 1),
    "groups": (IMAGE, _conv(4, (3, 3), 2, auto_pad="SAME_LOWER", strides=[2, 1]), 1),
    "signal": (SIGNAL, _conv(8, (5,), pads=[2, 2], strides=[2]), 1),
    "relu": (IMAGE, _after(_CONVOLVED, "Relu"), 1),
    "relu6": (IMAGE, _after(_CONVOLVED, "Clip", 0, 6), 1),
    "another clip": (IMAGE, _after(_CONVOLVED, "Clip", -1.5, 2.2), 1),
    "transposed convolution": (IMAGE, _transposed_convolution, 1),
    "gemm": (ROW, _gemm(True), 1),
    "gemm, weights transposed": (ROW, _gemm(False), 1),
    "matmul": (SIGNAL, _matmul, 1),
    "flattened": (IMAGE, _flattened, 2),
    "add": (IMAGE, _other("Add"), 2),
    "sub, relu": (IMAGE, _after(_other("Sub"), "Relu"), 2),
    "maximum": (IMAGE, _other("Max"), 2),
    "gate": (IMAGE, _gate, 2),
    "prelu": (IMAGE, _prelu, 1),
    **{
        kind: (IMAGE, _plain(kind), 0)
        for kind in ("HardSwish", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Softplus", "Relu", "Abs", "Erf")
    },
    "silu": (IMAGE, _silu, 0),
    "hard swish in parts": (IMAGE, _hard_swish_in_parts, 0),
    "clip of codes": (IMAGE, _clip_of_codes, 0),
    "max pool": (IMAGE, _plain("MaxPool", kernel_shape=[2, 2], strides=[2, 2]), 0),
    "max pool, padded": (IMAGE, _plain("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 0),
    "max pool, ceiling": (IMAGE, _plain("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), 0),
    "average pool": (IMAGE, _plain("AveragePool", kernel_shape=[2, 2], strides=[2, 2]), 1),
    "average pool, padded": (IMAGE, _plain("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), 1),
    "average pool, padding counted": (
        IMAGE,
        _plain("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, strides=[2, 2]),
        1,
    ),
    "mean of an image": (IMAGE, _plain("GlobalAveragePool"), 1),
    "mean": (IMAGE, _plain("ReduceMean", axes=[2, 3], keepdims=0), 1),
    "mean over channels": (IMAGE, _plain("ReduceMean", axes=[1]), 1),
    "maximum of an image": (IMAGE, _plain("GlobalMaxPool"), 0),
    "maximum over channels": (IMAGE, _plain("ReduceMax", axes=[1], keepdims=0), 0),
    "softmax": (ROW, _plain("Softmax", axis=1), 1),
    "softmax over channels": (IMAGE, _plain("Softmax", axis=1), 1),
    "transpose": (IMAGE, _plain("Transpose", perm=[0, 3, 1, 2]), 0),
    "reshape": (IMAGE, _given("Reshape", (0, -1, 3, 8)), 0),
    "image turned and reshaped": (IMAGE, _turned_image, 1),
    "shuffled channels": (IMAGE, _shuffled, 1),
    "squeeze": ((1, 6, 1, 8), _given("Squeeze", (2,)), 0),
    "unsqueeze": (SIGNAL, _given("Unsqueeze", (1,)), 0),
    "slice": (IMAGE, _sliced, 0),
    "split": (IMAGE, _split, 0),
    "concatenation": (IMAGE, _joined, 2),
    "pad": (IMAGE, _given("Pad", (0, 0, 1, 2, 0, 0, 0, 1)), 0),
    "gather": (IMAGE, _given("Gather", (3, 1, -1), axis=2), 0),
    "gather one": (IMAGE, _given("Gather", 2, axis=1), 0),
    "depth to space": ((1, 8, 3, 4), _plain("DepthToSpace", blocksize=2), 0),
    "depth to space, by columns": ((1, 8, 3, 4), _plain("DepthToSpace", blocksize=2, mode="CRD"), 0),
    "space to depth": ((1, 2, 6, 4), _plain("SpaceToDepth", blocksize=2), 0),
    "nearest": (
        IMAGE,
        _resized("nearest", 2, 2, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        0,
    ),
    "nearest, half pixels": (IMAGE, _resized("nearest", 2, 3), 0),
    "bilinear": (IMAGE, _resized("linear", 2, 2), 1),
}
"""By name: the input's shape, what is made of it, and by how many codes ONNX Runtime may differ."""


def all_cases(dtype: str, *names: str) -> bytes:
    """One file of them all, or of those named, with an input and an output each."""
    file = OnnxFile(dtype)
    outputs = []
    for shape, build, _ in [CASES[name] for name in names or CASES]:
        value = build(file, file.quantized(file.input(*shape), 0.04, -5))
        outputs.append(file.quantized(value, 0.05, 3))
    return file.file(*outputs)
