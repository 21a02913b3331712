// Ten swaps under load: nobody is refused, no answer has two authors, memory comes back. And what must not be swapped in.

import assert from 'node:assert/strict';
import { cp, open, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { inArray } from 'drizzle-orm';
import { generations } from '../shared/database/schema.ts';
import { newId } from '../shared/id.ts';
import { readCheckpoint } from '../shared/model/checkpoint.ts';
import { writePolicyGraphs } from '../shared/onnx/write-graphs.ts';
import { hashFiles, readManifest, writeManifest } from '../shared/package/files.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import { activatePolicy, registerPolicy } from '../shared/store/registry.ts';
import { readStream, type Streamed } from '../testing/completion-stream.ts';
import { openFleet, until } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { recompute } from './recompute-logps.ts';

const STREAMS = 16;
const SWAPS = 10;

const fleet = await openFleet();
const { db } = fleet.connection;
/** 11 million parameters: enough for a policy that stays in memory to show. */
const size = { hiddenSize: 384, intermediateSize: 1024, layers: 6, heads: 6, kvHeads: 6, vocabSize: 1024 };
const policies = [
  await fleet.importTiny({ ...size, contextLength: 256, seed: 1 }),
  await fleet.importTiny({ ...size, contextLength: 256, seed: 2 }),
];
await activatePolicy(db, policies[0]!, 'test');
const server = await fleet.launch();

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function swapTo(id: string): Promise<number> {
  const began = performance.now();
  await activatePolicy(db, id, 'test');
  await until(10_000, async () => {
    const health: Json = await (await fetch(`${server.url}/health`)).json();
    return health.policy === id;
  });
  return performance.now() - began;
}

/** Resident memory in bytes: the least of a few looks, since what is being drained or collected comes and goes. */
async function measureMemory(): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < 8; look++) {
    await sleep(250);
    looks.push((await server.metrics()).get('process_resident_memory_bytes')!);
  }
  return Math.min(...looks);
}

test('ten swaps under load: all are answered, each by one policy, and memory comes back', async (context) => {
  const answers: Streamed[] = [];
  const swaps: number[] = [];
  let isOver = false;
  let asked = 0;
  const ask = () => {
    const seed = asked++;
    // Few different prompts: what is kept of prompts fills up whether or not policies change.
    const body = {
      prompt: `Once upon a time ${seed % 4}`,
      max_tokens: 30 + (seed % 40),
      seed,
      // A chunk for each token, even where its text waits for the rest of a character.
      logprobs: 0,
      logit_bias: { 2: -100 },
    };
    return readStream(server.url, body).then((answer) => answers.push(answer));
  };
  const stream = async () => {
    while (!isOver) await ask();
  };
  const streams = Array.from({ length: STREAMS }, stream);

  // Until the allocator has the pieces that a swap needs.
  for (let swap = 1; swap <= 8; swap++) await swapTo(policies[swap % policies.length]!);
  const before = await measureMemory();
  for (let swap = 1; swap <= SWAPS; swap++) swaps.push(await swapTo(policies[swap % policies.length]!));
  let after = await measureMemory();
  // What the engine let go of is the system's again once the allocator and the collector have come around to it.
  for (let look = 1; look < 3 && after >= 1.1 * before; look++) after = Math.min(after, await measureMemory());
  isOver = true;
  await Promise.all(streams);

  const gaps = answers.flatMap((answer) => answer.gaps).sort((a, b) => a - b);
  context.diagnostic(`${answers.length} answers; swaps took ${swaps.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  context.diagnostic(
    `gaps between tokens: median ${gaps[gaps.length >> 1]!.toFixed(1)} ms, slowest ${gaps.at(-1)!.toFixed(0)} ms`,
  );
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  context.diagnostic(`resident: ${mebibytes(before)} MiB before, ${mebibytes(after)} MiB after`);

  assert.deepEqual(
    answers.filter(({ isWhole }) => !isWhole).map(({ status, error }) => ({ status, error })),
    [],
  );
  assert.ok(answers.every((answer) => answer.policies.size === 1));
  const byPolicy = Map.groupBy(answers, (answer) => [...answer.policies][0]!);
  assert.deepEqual([...byPolicy.keys()].sort(), [...policies].sort());
  assert.ok(after < 1.1 * before, `${mebibytes(after)} MiB after the swaps, ${mebibytes(before)} MiB before`);

  const sample = [...byPolicy.values()].flatMap((own) => own.filter((_, i) => i % Math.ceil(own.length / 8) === 0));
  const rows = await db
    .select()
    .from(generations)
    .where(
      inArray(
        generations.id,
        sample.map(({ id }) => id),
      ),
    );
  assert.equal(rows.length, sample.length);
  for (const row of rows) {
    const answer = sample.find(({ id }) => id === row.id)!;
    assert.equal(row.policy_id, [...answer.policies][0]);
    assert.equal(row.text, answer.text);
    const other = policies.find((id) => id !== row.policy_id)!;
    const differ = async (id: string) => {
      const logps = await recompute(await fleet.shelf.folderOf(id), row.prompt_token_ids, row.token_ids);
      return logps.reduce((sum, logp, i) => sum + Math.abs(logp - row.logps[i]!), 0) / logps.length;
    };
    // The policy is served at a lower precision than the graph it is held against.
    const [own, others] = [await differ(row.policy_id), await differ(other)];
    assert.ok(own < 0.3 && own < others / 5, `off by ${own} from its own policy, by ${others} from the other`);
  }
});

/** A copy of a policy with something changed, under an id of its own; its digests are made to fit unless told otherwise. */
async function forge(change: (folder: string) => Promise<unknown>, { isSigned = true } = {}): Promise<string> {
  const draft = await fleet.shelf.createStaging();
  await cp(await fleet.shelf.folderOf(policies[1]!), draft, { recursive: true });
  const id = newId('pol_');
  if (isSigned) await change(draft);
  const manifest: Manifest = { ...(await readManifest(draft)), id, files: await hashFiles(draft) };
  await writeManifest(draft, manifest);
  if (!isSigned) await change(draft);
  await fleet.shelf.publish(draft, id);
  await registerPolicy(db, { id, name: 'forged', manifest });
  return id;
}

async function flipByte(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  const at = Math.floor((await handle.stat()).size / 2);
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at);
  await handle.write(Buffer.of(buffer[0]! ^ 0x10), 0, 1, at);
  await handle.close();
}

const broken: Record<string, [make: () => Promise<string>, says: RegExp]> = {
  'one flipped bit in the weights': [
    () => forge((folder) => flipByte(path.join(folder, 'model.safetensors')), { isSigned: false }),
    /model\.safetensors has SHA-256/,
  ],
  'weights that are not numbers': [
    () =>
      forge(async (folder) => {
        const { architecture, weights } = await readCheckpoint(folder);
        weights.get('model.layers.3.mlp.down_proj.weight')!.data.fill(Number.NaN);
        await rm(path.join(folder, 'onnx'), { recursive: true });
        await writePolicyGraphs(folder, architecture, weights);
      }),
    /not finite/,
  ],
  'another model’s tokenizer': [
    () =>
      forge(async (folder) => {
        const file = path.join(folder, 'tokenizer.json');
        const tokenizer = (await readFile(file, 'utf8')).replace('"model":', '"_":0,"model":');
        await writeFile(file, tokenizer);
      }),
    /another tokenizer/,
  ],
};
for (const [name, [make, says]] of Object.entries(broken)) {
  test(`a policy with ${name} is refused, and the old one goes on`, async () => {
    const { policy: serving } = (await (await fetch(`${server.url}/health`)).json()) as Json;
    const id = await make();
    const promoted = await fetch(`${server.url}/v1/policies/${id}/promote`, { method: 'POST' });
    assert.ok(promoted.status >= 400);
    assert.match(((await promoted.json()) as Json).error.message, says);
    // Even where its activation comes from somebody who did not look.
    await activatePolicy(db, id, 'test');
    await until(5000, () => server.said().includes(`${id} failed to load`));
    const { policies: named, isWhole } = await readStream(server.url, { prompt: 'Once', max_tokens: 3 });
    assert.ok(isWhole);
    assert.deepEqual([...named], [serving]);
    await activatePolicy(db, serving, 'test');
  });
}
