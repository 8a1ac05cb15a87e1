"""The part of TFLite's schema (version 3) that this project reads and writes, as a table.

Tables, slots, types and defaults are facts of the format (``schema.fbs``). A field that is not listed is ignored when
reading and left out when writing.
"""

from __future__ import annotations

from .flatbuffer import Field, Schema

IDENTIFIER = b"TFL3"
VERSION = 3

TENSOR_TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
"""TensorType by code, for the types that have a NumPy equivalent and a fixed size."""
RESOURCE = 13
"""TensorType of the handles of variables."""

PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

_OPERATOR_NAMES = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
    DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
    STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
    STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM
    STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
    STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
    STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW
    STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
    REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""
BUILTIN_OPERATORS = tuple(_OPERATOR_NAMES.split())
"""BuiltinOperator: the position is the code."""

SCHEMA = Schema(
    root="Model",
    tables={
        "Model": {
            "version": Field(0, "uint32"),
            "operator_codes": Field(1, "[OperatorCode]"),
            "subgraphs": Field(2, "[SubGraph]"),
            "description": Field(3, "string"),
            "buffers": Field(4, "[Buffer]"),
            "metadata": Field(6, "[Metadata]"),
        },
        "OperatorCode": {
            "deprecated_builtin_code": Field(0, "int8"),
            "custom_code": Field(1, "string"),
            "version": Field(2, "int32", 1),
            "builtin_code": Field(3, "int32"),
        },
        "SubGraph": {
            "tensors": Field(0, "[Tensor]"),
            "inputs": Field(1, "[int32]"),
            "outputs": Field(2, "[int32]"),
            "operators": Field(3, "[Operator]"),
            "name": Field(4, "string"),
        },
        "Tensor": {
            "shape": Field(0, "[int32]"),
            "type": Field(1, "int8"),
            "buffer": Field(2, "uint32"),
            "name": Field(3, "string"),
            "quantization": Field(4, "QuantizationParameters"),
            "is_variable": Field(5, "bool"),
            "sparsity": Field(6, "SparsityParameters"),
            "external_buffer": Field(10, "uint32"),
        },
        "QuantizationParameters": {
            "scale": Field(2, "[float32]"),
            "zero_point": Field(3, "[int64]"),
            "details_type": Field(4, "uint8"),
            "quantized_dimension": Field(6, "int32"),
        },
        "SparsityParameters": {
            "traversal_order": Field(0, "[int32]"),
            "block_map": Field(1, "[int32]"),
            "dim_metadata": Field(2, "[DimensionMetadata]"),
        },
        "DimensionMetadata": {
            "format": Field(0, "int8"),
            "dense_size": Field(1, "int32"),
            "array_segments_type": Field(2, "uint8"),
            "array_segments": Field(3, "SparseIndexVector"),
            "array_indices_type": Field(4, "uint8"),
            "array_indices": Field(5, "SparseIndexVector"),
        },
        "Int32Vector": {"values": Field(0, "[int32]")},
        "Uint16Vector": {"values": Field(0, "[uint16]", alignment=4)},
        "Uint8Vector": {"values": Field(0, "[uint8]", alignment=4)},
        "Operator": {
            "opcode_index": Field(0, "uint32"),
            "inputs": Field(1, "[int32]"),
            "outputs": Field(2, "[int32]"),
            "builtin_options_type": Field(3, "uint8"),
            "builtin_options": Field(4, "BuiltinOptions"),
            "intermediates": Field(8, "[int32]"),
        },
        "Buffer": {
            "data": Field(0, "[uint8]", alignment=16),
            "offset": Field(1, "uint64"),
            "size": Field(2, "uint64"),
        },
        "Metadata": {"name": Field(0, "string"), "buffer": Field(1, "uint32")},
        "Conv2DOptions": {
            "padding": Field(0, "int8"),
            "stride_w": Field(1, "int32"),
            "stride_h": Field(2, "int32"),
            "fused_activation_function": Field(3, "int8"),
            "dilation_w_factor": Field(4, "int32", 1),
            "dilation_h_factor": Field(5, "int32", 1),
        },
        "DepthwiseConv2DOptions": {
            "padding": Field(0, "int8"),
            "stride_w": Field(1, "int32"),
            "stride_h": Field(2, "int32"),
            "depth_multiplier": Field(3, "int32"),
            "fused_activation_function": Field(4, "int8"),
            "dilation_w_factor": Field(5, "int32", 1),
            "dilation_h_factor": Field(6, "int32", 1),
        },
        "Pool2DOptions": {
            "padding": Field(0, "int8"),
            "stride_w": Field(1, "int32"),
            "stride_h": Field(2, "int32"),
            "filter_width": Field(3, "int32"),
            "filter_height": Field(4, "int32"),
            "fused_activation_function": Field(5, "int8"),
        },
        "FullyConnectedOptions": {
            "fused_activation_function": Field(0, "int8"),
            "weights_format": Field(1, "int8"),
            "keep_num_dims": Field(2, "bool"),
        },
        "CallOnceOptions": {"init_subgraph_index": Field(0, "int32")},
        "VarHandleOptions": {"container": Field(0, "string"), "shared_name": Field(1, "string")},
        "SVDFOptions": {"rank": Field(0, "int32"), "fused_activation_function": Field(1, "int8")},
        "UnidirectionalSequenceLSTMOptions": {
            "fused_activation_function": Field(0, "int8"),
            "cell_clip": Field(1, "float32"),
            "proj_clip": Field(2, "float32"),
            "time_major": Field(3, "bool"),
        },
        "SoftmaxOptions": {"beta": Field(0, "float32", 0.0)},
        "AddOptions": {"fused_activation_function": Field(0, "int8"), "pot_scale_int16": Field(1, "bool", True)},
        "SubOptions": {"fused_activation_function": Field(0, "int8"), "pot_scale_int16": Field(1, "bool", True)},
        "DivOptions": {"fused_activation_function": Field(0, "int8")},
        "MulOptions": {"fused_activation_function": Field(0, "int8")},
        "ConcatenationOptions": {"axis": Field(0, "int32"), "fused_activation_function": Field(1, "int8")},
        "PadOptions": {},
        "ReshapeOptions": {"new_shape": Field(0, "[int32]")},
        "SqueezeOptions": {"squeeze_dims": Field(0, "[int32]")},
        "ExpandDimsOptions": {},
        "TransposeOptions": {},
        "SplitOptions": {"num_splits": Field(0, "int32")},
        "SplitVOptions": {"num_splits": Field(0, "int32")},
        "UnpackOptions": {"num": Field(0, "int32"), "axis": Field(1, "int32")},
        "PackOptions": {"values_count": Field(0, "int32"), "axis": Field(1, "int32")},
        "GatherOptions": {"axis": Field(0, "int32"), "batch_dims": Field(1, "int32")},
        "SliceOptions": {},
        "TileOptions": {},
        "ShapeOptions": {"out_type": Field(0, "int8")},
        "FillOptions": {},
        "CastOptions": {"in_data_type": Field(0, "int8"), "out_data_type": Field(1, "int8")},
        "DensifyOptions": {},
        "SpaceToBatchNDOptions": {},
        "BatchToSpaceNDOptions": {},
        "StridedSliceOptions": {
            "begin_mask": Field(0, "int32"),
            "end_mask": Field(1, "int32"),
            "ellipsis_mask": Field(2, "int32"),
            "new_axis_mask": Field(3, "int32"),
            "shrink_axis_mask": Field(4, "int32"),
            "offset": Field(5, "bool"),
        },
        "ReducerOptions": {"keep_dims": Field(0, "bool")},
        "QuantizeOptions": {},
        "DequantizeOptions": {},
        "HardSwishOptions": {},
        "ArgMaxOptions": {"output_type": Field(0, "int8")},
        "ArgMinOptions": {"output_type": Field(0, "int8")},
        "LeakyReluOptions": {"alpha": Field(0, "float32")},
        "AbsOptions": {},
        "ExpOptions": {},
        "MaximumMinimumOptions": {},
        "ResizeBilinearOptions": {"align_corners": Field(2, "bool"), "half_pixel_centers": Field(3, "bool")},
        "ResizeNearestNeighborOptions": {"align_corners": Field(0, "bool"), "half_pixel_centers": Field(1, "bool")},
        "TransposeConvOptions": {
            "padding": Field(0, "int8"),
            "stride_w": Field(1, "int32"),
            "stride_h": Field(2, "int32"),
            "fused_activation_function": Field(3, "int8"),
        },
    },
    unions={
        "SparseIndexVector": {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"},
        "BuiltinOptions": {
            1: "Conv2DOptions",
            2: "DepthwiseConv2DOptions",
            5: "Pool2DOptions",
            6: "SVDFOptions",
            8: "FullyConnectedOptions",
            9: "SoftmaxOptions",
            10: "ConcatenationOptions",
            11: "AddOptions",
            15: "ResizeBilinearOptions",
            17: "ReshapeOptions",
            21: "MulOptions",
            22: "PadOptions",
            23: "GatherOptions",
            24: "BatchToSpaceNDOptions",
            25: "SpaceToBatchNDOptions",
            26: "TransposeOptions",
            27: "ReducerOptions",
            28: "SubOptions",
            29: "DivOptions",
            30: "SqueezeOptions",
            32: "StridedSliceOptions",
            33: "ExpOptions",
            35: "SplitOptions",
            37: "CastOptions",
            38: "DequantizeOptions",
            39: "MaximumMinimumOptions",
            40: "ArgMaxOptions",
            48: "SliceOptions",
            49: "TransposeConvOptions",
            51: "TileOptions",
            52: "ExpandDimsOptions",
            55: "ShapeOptions",
            57: "ArgMinOptions",
            59: "PackOptions",
            64: "UnpackOptions",
            68: "FillOptions",
            71: "UnidirectionalSequenceLSTMOptions",
            74: "ResizeNearestNeighborOptions",
            75: "LeakyReluOptions",
            78: "AbsOptions",
            79: "SplitVOptions",
            89: "QuantizeOptions",
            91: "HardSwishOptions",
            99: "DensifyOptions",
            103: "CallOnceOptions",
            111: "VarHandleOptions",
        },
    },
)
