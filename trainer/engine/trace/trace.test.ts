import assert from 'node:assert/strict';
import { test } from 'node:test';
import '@tensorflow/tfjs';
import * as tf from '@tensorflow/tfjs-core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { choosePrimes } from './symbolic-dimensions.ts';
import { type InputSpec, trace } from './trace.ts';

const spec = (shape: number[], type: InputSpec['type'] = 'float32'): InputSpec => ({ shape, type });

async function run(
  inputs: Record<string, { spec: InputSpec; data: number[] }>,
  compute: (tensors: ReadonlyMap<string, tf.Tensor>) => Map<string, tf.Tensor>,
): Promise<{ outputs: Record<string, number[]>; nodeCount: number }> {
  const program = trace(new Map(Object.entries(inputs).map(([name, { spec }]) => [name, spec])), compute);
  const session = await InferenceSession.create(program.bytes, { intraOpNumThreads: 2, logSeverityLevel: 3 });
  const feeds = program.inputs.map((name) => {
    const { spec, data } = inputs[name]!;
    const values = spec.type === 'int32' ? Int32Array.from(data) : Float32Array.from(data);
    return [name, new Tensor(spec.type, values, spec.shape)] as const;
  });
  const outputs = await session.run(Object.fromEntries(feeds));
  await session.release();
  return {
    outputs: Object.fromEntries(program.outputs.map((name) => [name, [...(outputs[name]!.data as Float32Array)]])),
    nodeCount: program.nodeCount,
  };
}

test('a traced function and its gradient give the values of tfjs', async () => {
  const { outputs } = await run({ x: { spec: spec([2]), data: [1, 2] }, y: { spec: spec([2]), data: [3, 5] } }, (t) => {
    const { value, grads } = tf.valueAndGrads((x, y) => tf.sum(tf.mul(tf.square(x!), y!)))([t.get('x')!, t.get('y')!]);
    return new Map<string, tf.Tensor>([
      ['value', value],
      ['dx', grads[0]!],
      ['dy', grads[1]!],
    ]);
  });
  assert.deepEqual(outputs, { value: [23], dx: [6, 20], dy: [1, 4] });
});

test('equal nodes are emitted once, and neutral operations not at all', async () => {
  const { outputs, nodeCount } = await run({ x: { spec: spec([2]), data: [1, 2] } }, (t) => {
    const x = t.get('x')!;
    const once = tf.exp(tf.mul(tf.add(x, tf.zerosLike(x)), tf.onesLike(x)));
    return new Map([['sum', tf.add(once, tf.exp(x))]]);
  });
  assert.equal(nodeCount, 2); // Exp, Add
  assert.deepEqual(outputs.sum, [...Float32Array.of(2 * Math.E, 2 * Math.E ** 2)]);
});

test('a segment sum adds every row of a repeated index, alone and into another tensor', async () => {
  const indices = [0, 2, 0, 0, 2, 0, 0, 2];
  const inputs = {
    indices: { spec: spec([8], 'int32'), data: indices },
    rows: { spec: spec([8, 2]), data: Array.from({ length: 16 }, (_, i) => i) },
    dense: { spec: spec([3, 2]), data: [100, 100, 100, 100, 100, 100] },
  };
  const expected = [0, 0, 0, 0, 0, 0];
  for (const [row, index] of indices.entries())
    for (const column of [0, 1]) expected[2 * index + column]! += 2 * row + column;
  const { outputs } = await run(inputs, (t) => {
    const sums = tf.unsortedSegmentSum(t.get('rows')!, t.get('indices') as tf.Tensor1D, 3);
    return new Map([
      ['alone', sums],
      ['added', tf.add(t.get('dense')!, sums)],
    ]);
  });
  assert.deepEqual(outputs.alone, expected);
  assert.deepEqual(
    outputs.added,
    expected.map((x) => x + 100),
  );
});

test('outputs may be constants, inputs or other outputs', async () => {
  const { outputs } = await run({ x: { spec: spec([2]), data: [1, 2] } }, (t) => {
    const x = t.get('x')!;
    const twice = tf.mul(x, 2);
    return new Map([
      ['ones', tf.ones([3])],
      ['same', x],
      ['twice', twice],
      ['again', tf.reshape(twice, [2, 1])],
    ]);
  });
  assert.deepEqual(outputs, { ones: [1, 1, 1], same: [1, 2], twice: [2, 4], again: [2, 4] });
});

test('code that reads values is rejected, and the next trace is unaffected', () => {
  const specs = new Map([['x', spec([2])]]);
  assert.throws(
    () => trace(specs, (t) => new Map([['y', tf.tensor(t.get('x')!.dataSync())]])),
    /a tensor has no value before the graph runs/,
  );
  assert.equal(trace(specs, (t) => new Map([['y', tf.exp(t.get('x')!)]])).nodeCount, 1);
});

test('one graph runs with every extent of its dynamic dimensions', async () => {
  const primes = choosePrimes(['N', 'M'], [3]);
  const compute = (t: ReadonlyMap<string, tf.Tensor>) => {
    const x = t.get('x') as tf.Tensor3D; // [N, M, 3]
    const [N, M] = x.shape;
    const transposed = tf.reshape(tf.transpose(tf.reshape(x, [N * M, 3])), [3, N, M]);
    const counted = tf.add(transposed, tf.cast(tf.range(0, M, 1, 'int32'), 'float32'));
    const { value, grads } = tf.valueAndGrads((x) =>
      tf.sum(tf.square(tf.gather(tf.reshape(x!, [N * M, 3]), tf.range(0, N, 1, 'int32')))),
    )([x]);
    return new Map<string, tf.Tensor>([
      ['counted', counted],
      ['value', value],
      ['slope', grads[0]!],
      ['ones', tf.ones([N, 2 * M])],
    ]);
  };
  const program = trace(new Map([['x', spec([primes.N, primes.M, 3])]]), compute, {
    dynamicDims: new Map(Object.entries(primes)),
  });
  const session = await InferenceSession.create(program.bytes, { logSeverityLevel: 3 });
  for (const [N, M] of [
    [2, 1],
    [1, 3],
    [3, 2],
  ] as const) {
    const data = Array.from({ length: N * M * 3 }, (_, i) => i + 1);
    const fixed = await run({ x: { spec: spec([N, M, 3]), data } }, compute);
    const outputs = await session.run({ x: new Tensor('float32', Float32Array.from(data), [N, M, 3]) });
    assert.deepEqual(outputs.ones!.dims, [N, 2 * M]);
    for (const [name, expected] of Object.entries(fixed.outputs))
      assert.deepEqual([...(outputs[name]!.data as Float32Array)], expected, `${name} of [${N}, ${M}, 3]`);
  }
  await session.release();
});

test('rejects a constant with a dynamic dimension, because its extent holds only while tracing', () => {
  const primes = choosePrimes(['N'], []);
  const options = { dynamicDims: new Map(Object.entries(primes)) };
  const values = Array.from({ length: primes.N }, (_, i) => i);
  assert.throws(
    () =>
      trace(
        new Map([['x', spec([primes.N])]]),
        (t) => new Map([['y', tf.add(t.get('x')!, tf.tensor1d(values))]]),
        options,
      ),
    /a constant with a dynamic dimension, of shape \[N\]/,
  );
});
