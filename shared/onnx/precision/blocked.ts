// int8 and int4: block-wise integer weights (MatMulNBits), one scale per block of inputs, which is more accurate than
// one scale per row. int8 is for accuracy, int4 for memory.

import { maxAbs } from '../../model/matrix.ts';
import type { Tensor } from '../../model/tensor.ts';
import type { Precision } from './precision.ts';

/**
 * Inputs per scale. With 4 bits and blocks of 32 or more, ONNX Runtime's AVX2 kernel for a single row sums in another
 * order than its kernel for several, so a row's result would depend on the batch. Blocks of 16 have one kernel for both.
 */
const BLOCK_SIZE = { 4: 16, 8: 32 } as const;
/** MatMulNBits accuracy_level 4: int8 products; the activations of each row are quantized block by block. */
const INT8_ACTIVATIONS = 4;

export function blocked(bits: 4 | 8): Precision {
  const blockSize = BLOCK_SIZE[bits];
  const matMulAttributes = (out: number, into: number) => ({
    K: into,
    N: out,
    bits,
    block_size: blockSize,
    accuracy_level: INT8_ACTIVATIONS,
  });

  const precision: Precision = {
    isRotated: false,
    kvFormat: bits === 8 ? 'float32' : 'int8',
    checkInputs: (inputs) =>
      inputs % blockSize === 0 ? null : `int${bits} requires ${inputs} to be a multiple of ${blockSize}`,
    async writeLinear(file, name, weight) {
      const [out, into] = weight.shape as [number, number];
      const { packed, scales } = quantizeBlocks(weight, bits, blockSize);
      await file.write(name, 'uint8', [out, into / blockSize, (blockSize * bits) / 8], packed);
      await file.write(`${name}.scale`, 'float32', [out, into / blockSize], scales);
    },
    linear(graph, x, names) {
      return names.map((name) => {
        const [out, blocks] = graph.shapeOf(`${name}.scale`) as [number, number];
        const inputs = [x, graph.weight(name), graph.weight(`${name}.scale`)];
        return graph.addContrib('MatMulNBits', inputs, { attributes: matMulAttributes(out, blocks * blockSize) });
      });
    },
    async writeEmbedding(file, name, table) {
      await precision.writeLinear(file, name, table);
      const [size, width] = table.shape as [number, number];
      file.alias(`${name}.rows`, name, [size, (width * bits) / 8]);
    },
    embed(graph, ids, name) {
      return graph.addContrib(
        'GatherBlockQuantized',
        [graph.weight(`${name}.rows`), ids, graph.weight(`${name}.scale`)],
        {
          attributes: { bits, block_size: blockSize, gather_axis: 0, quantize_axis: 1 },
        },
      );
    },
    outputLayer(graph, h, name, output) {
      const [out, blocks] = graph.shapeOf(`${name}.scale`) as [number, number];
      graph.addContrib('MatMulNBits', [h, graph.weight(name), graph.weight(`${name}.scale`)], {
        attributes: matMulAttributes(out, blocks * blockSize),
        outputs: [output],
      });
    },
  };
  return precision;
}

/** W [out, in] → unsigned integers around 2^(bits − 1), two to a byte at four bits, and scales [out, in / blockSize]. */
function quantizeBlocks(
  { shape, data }: Tensor,
  bits: 4 | 8,
  blockSize: number,
): { packed: Uint8Array; scales: Float32Array } {
  const [out, into] = shape as [number, number];
  const zero = 2 ** (bits - 1);
  const packed = new Uint8Array((data.length * bits) / 8);
  const scales = new Float32Array((out * into) / blockSize);
  for (let block = 0; block < scales.length; block++) {
    const begin = block * blockSize;
    const scale = maxAbs(data, begin, begin + blockSize) / (zero - 1);
    scales[block] = scale;
    for (let i = begin; i < begin + blockSize; i++) {
      const value = scale === 0 ? zero : Math.round(data[i]! / scale) + zero;
      if (bits === 8) packed[i] = value;
      else packed[i >> 1]! |= i % 2 === 0 ? value : value << 4;
    }
  }
  return { packed, scales };
}
