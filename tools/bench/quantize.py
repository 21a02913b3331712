"""Quantizes model.onnx to model_quantized.onnx with ONNX Runtime's dynamic quantizer and the settings of
transformers.js's conversion script for `q8`: one scale per matrix, only constant right-hand sides.
`python quantize.py FOLDER QInt8|QUInt8`"""

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
        # The outputs of fused operators have no inferred type.
        "DefaultTensorType": onnx.TensorProto.FLOAT,
    },
)
partial.rename(folder / "model_quantized.onnx")
