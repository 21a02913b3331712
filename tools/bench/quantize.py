"""Quantizes model.onnx to model_quantized.onnx with ONNX Runtime's own dynamic quantizer, with the settings of
transformers.js's conversion script for its `q8`: one scale a matrix, only constant right-hand sides, and the
weights' type as told. `python quantize.py FOLDER QInt8|QUInt8`"""

import sys
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

folder, weight_type = Path(sys.argv[1]), sys.argv[2]
partial = folder / "model_quantized.partial"
quantize_dynamic(
    folder / "model.onnx",
    partial,
    weight_type=QuantType[weight_type],
    per_channel=False,
    reduce_range=False,
    extra_options={
        "EnableSubgraph": True,
        "MatMulConstBOnly": True,
        # The fused operators' outputs have no inferred type.
        "DefaultTensorType": onnx.TensorProto.FLOAT,
    },
)
partial.rename(folder / "model_quantized.onnx")
