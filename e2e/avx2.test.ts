// Batch invariance and the rounding of each precision on a processor with AVX2 only, emulated on newer ones.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { readProcessor } from '../shared/processor.ts';
import { hideNewerThanAvx2 } from '../testing/avx2-only.ts';

const TESTS = ['edge/engine/batch-invariance.test.ts', 'shared/onnx/write-graphs.test.ts'].map((file) =>
  path.join(import.meta.dirname, '..', file),
);

const { features } = readProcessor();
const isAvx2Only = features !== null && !features.has('AVX-512') && !features.has('AVX-VNNI');
const avx2 = isAvx2Only
  ? `this processor has AVX2 only, so ${TESTS.map((file) => path.basename(file)).join(' and ')} test it`
  : await hideNewerThanAvx2();
if (typeof avx2 !== 'string') after(avx2.remove);

test('with AVX2 only, a generation does not depend on its batch, and each precision rounds as it should', {
  skip: typeof avx2 === 'string' && avx2,
}, async () => {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
  const env = { ...environment, ...(avx2 as Exclude<typeof avx2, string>).environment };
  const options = { env, maxBuffer: 2 ** 28 };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--test', '--test-reporter=tap', ...TESTS],
    options,
  ).catch(({ stdout }) => assert.fail(stdout.slice(0, 10_000)));
  const passed = Number(/^# pass (\d+)$/m.exec(stdout)![1]);
  assert.ok(passed >= 33, `${passed} tests passed`);
});
