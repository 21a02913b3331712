// Whether ONNX Runtime multiplies a uint8 and an int8 exactly here. On x64 without VNNI or AMX it adds two such products in
// int16, which saturates. Computed instead of read from the processor's features, which few platforms tell.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { writeOnnxModel } from '../onnx/model-proto.ts';

const INPUTS = 64;
const OUTPUTS = 16;

let exactness: Promise<boolean> | null = null;

export function multipliesSignedExactly(): Promise<boolean> {
  exactness ??= multiplyLargest();
  return exactness;
}

async function multiplyLargest(): Promise<boolean> {
  const model = writeOnnxModel({
    nodes: [{ op: 'MatMulInteger', inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: [{ name: 'x', type: 'uint8', dims: [1, INPUTS] }],
    outputs: [{ name: 'y', type: 'int32', dims: [1, OUTPUTS] }],
    initializers: [
      { name: 'w', type: 'int8', dims: [INPUTS, OUTPUTS], data: new Int8Array(INPUTS * OUTPUTS).fill(127) },
    ],
  });
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const { y } = await session.run({ x: new Tensor('uint8', new Uint8Array(INPUTS).fill(255), [1, INPUTS]) });
  await session.release();
  return (y!.data as Int32Array).every((sum) => sum === INPUTS * 255 * 127);
}
