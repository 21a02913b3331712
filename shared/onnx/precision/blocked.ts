// int8 and int4: whole numbers with one scale for each 32 inputs (MatMulNBits), which keeps more of the weights than one
// scale for a row does. int8 is for accuracy, int4 for memory.

import { maxAbs } from '../../model/matrix.ts';
import type { Tensor } from '../../model/safetensors.ts';
import type { Precision } from './precision.ts';

const BLOCK = 32;
/** Multiply whole numbers; the activations of a row are quantized block by block. */
const INTEGER_PRODUCTS = 4;

export function blocked(bits: 4 | 8): Precision {
  const attributesOf = (out: number, into: number) => ({
    K: into,
    N: out,
    bits,
    block_size: BLOCK,
    accuracy_level: INTEGER_PRODUCTS,
  });

  const precision: Precision = {
    refuse: (inputs) => (inputs % BLOCK === 0 ? null : `int${bits} needs ${inputs} to be a multiple of ${BLOCK}`),
    async storeLinear(file, name, weight) {
      const [out, into] = weight.shape as [number, number];
      const { packed, scales } = quantizeBlocks(weight, bits);
      await file.store(name, 'uint8', [out, into / BLOCK, (BLOCK * bits) / 8], packed);
      await file.store(`${name}.scale`, 'float32', [out, into / BLOCK], scales);
    },
    linear(graph, x, names) {
      return names.map((name) => {
        const [out, blocks] = graph.shapeOf(`${name}.scale`) as [number, number];
        const inputs = [x, graph.weight(name), graph.weight(`${name}.scale`)];
        return graph.addContrib('MatMulNBits', inputs, { attributes: attributesOf(out, blocks * BLOCK) });
      });
    },
    async storeTable(file, name, table) {
      await precision.storeLinear(file, name, table);
      const [size, width] = table.shape as [number, number];
      file.alias(`${name}.rows`, name, [size, (width * bits) / 8]);
    },
    embed(graph, ids, name) {
      return graph.addContrib(
        'GatherBlockQuantized',
        [graph.weight(`${name}.rows`), ids, graph.weight(`${name}.scale`)],
        {
          attributes: { bits, block_size: BLOCK, gather_axis: 0, quantize_axis: 1 },
        },
      );
    },
    head(graph, h, name, output) {
      const [out, blocks] = graph.shapeOf(`${name}.scale`) as [number, number];
      graph.addContrib('MatMulNBits', [h, graph.weight(name), graph.weight(`${name}.scale`)], {
        attributes: attributesOf(out, blocks * BLOCK),
        outputs: [output],
      });
    },
  };
  return precision;
}

/** W [out, in] → unsigned numbers around 2^(bits − 1), two to a byte at four bits, and scales [out, in / 32]. */
function quantizeBlocks({ shape, data }: Tensor, bits: 4 | 8): { packed: Uint8Array; scales: Float32Array } {
  const [out, into] = shape as [number, number];
  const zero = 2 ** (bits - 1);
  const packed = new Uint8Array((data.length * bits) / 8);
  const scales = new Float32Array((out * into) / BLOCK);
  for (let block = 0; block < scales.length; block++) {
    const begin = block * BLOCK;
    const scale = maxAbs(data, begin, begin + BLOCK) / (zero - 1);
    scales[block] = scale;
    for (let i = begin; i < begin + BLOCK; i++) {
      const value = scale === 0 ? zero : Math.round(data[i]! / scale) + zero;
      if (bits === 8) packed[i] = value;
      else packed[i >> 1]! |= i % 2 === 0 ? value : value << 4;
    }
  }
  return { packed, scales };
}
