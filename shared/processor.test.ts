import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { hasInt8DotProduct, parseCpuInfo, readProcessor } from './processor.ts';

const HASWELL = `processor	: 0
vendor_id	: GenuineIntel
model		: 63
model name	: Intel(R) Xeon(R) CPU E5-2699 v3 @ 2.30GHz
flags		: fpu vme sse4_2 avx f16c fma bmi1 avx2 bmi2
bugs		: spectre_v1

processor	: 1
model name	: Intel(R) Xeon(R) CPU E5-2699 v3 @ 2.30GHz
flags		: fpu vme sse4_2 avx f16c fma bmi1 avx2 bmi2
`;
const SAPPHIRE_RAPIDS = `model name	: Intel(R) Xeon(R) Platinum 8488C
flags		: avx fma avx2 avx512f avx512dq avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
`;
const GRAVITON = `processor	: 0
BogoMIPS	: 243.75
Features	: fp asimd evtstrm aes
CPU implementer	: 0x41
`;

test('reads the model and the vector features of an AVX2 processor', () => {
  const { model, features } = parseCpuInfo(HASWELL);
  assert.equal(model, 'Intel(R) Xeon(R) CPU E5-2699 v3 @ 2.30GHz');
  assert.deepEqual([...features!], ['AVX2', 'FMA']);
  assert.equal(hasInt8DotProduct({ features }), false);
});

test('reads AVX-512, VNNI and AMX', () => {
  const { features } = parseCpuInfo(SAPPHIRE_RAPIDS);
  assert.deepEqual([...features!], ['AVX2', 'FMA', 'AVX-512', 'AVX-512 VNNI', 'AVX-VNNI', 'AMX']);
  assert.equal(hasInt8DotProduct({ features }), true);
});

test('reports unknown features where /proc/cpuinfo has no flags', () => {
  for (const text of [GRAVITON, '']) {
    const { model, features } = parseCpuInfo(text);
    assert.equal(model, null);
    assert.equal(features, null);
    assert.equal(hasInt8DotProduct({ features }), null);
  }
});

test('describes this machine', () => {
  const { model, cores } = readProcessor();
  assert.ok(model.length > 0);
  assert.equal(cores, availableParallelism());
});
