// Measures the peak memory of an import's streamed work in a process of its own: node measure-import.ts SOURCE FOLDER PRECISION.
// Everything that is done before float32 and the precision are compared. Prints the bytes that it added to the process.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from '../shared/model/checkpoint.ts';
import { toCheckpointTensors } from '../shared/model/checkpoint-tensors.ts';
import { writeSafetensors } from '../shared/model/safetensors.ts';
import { validateWeights } from '../shared/model/tensor.ts';
import { PRECISIONS } from '../shared/onnx/precision/precisions.ts';
import { writePolicyGraphs, writeServingGraph } from '../shared/onnx/write-graphs.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { openGgufCheckpoint } from '../shared/publish/gguf/checkpoint.ts';
import { readProcessMemory } from './process-memory.ts';

const [source, folder, precision] = process.argv.slice(2) as [string, string, PrecisionName];

await mkdir(folder, { recursive: true });
const before = await readProcessMemory('VmRSS');
const { architecture, weights } = source.endsWith('.gguf')
  ? await openGgufCheckpoint(source, folder)
  : await openCheckpoint(source);
await validateWeights(weights);
await writeSafetensors(join(folder, 'model.safetensors'), toCheckpointTensors(architecture, weights));
await writePolicyGraphs(folder, architecture, weights);
await writeServingGraph(join(folder, 'onnx', precision), architecture, weights, PRECISIONS[precision]);
console.log((await readProcessMemory('VmHWM')) - before);
