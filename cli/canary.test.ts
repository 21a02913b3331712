import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eq } from 'drizzle-orm';
import { canaries, rounds } from '../shared/database/schema.ts';
import { packageFilePath, writeManifest } from '../shared/package/files.ts';
import { openLocalStoreAt } from '../shared/store/local-store.ts';
import { activatePolicy, findRunningCanary, registerPolicy } from '../shared/store/registry.ts';
import { openTestDatabase } from '../testing/database.ts';
import { makePackage, randomBytes } from '../testing/store-package.ts';
import { storePolicyVotes } from '../testing/stored-rows.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const { db, url } = await openTestDatabase();
const home = await mkdtemp(path.join(tmpdir(), 'attune-canary-'));
after(() => rm(home, { recursive: true, force: true }));
const store = await openLocalStoreAt(path.join(home, 'policies'));

function run(...args: string[]) {
  const env = { ...process.env, DATABASE_URL: url, ATTUNE_HOME: home };
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...args], { env, encoding: 'utf8' });
  return { stdout, stderr, status };
}

async function publish(): Promise<string> {
  const { manifest, files } = makePackage({ 'config.json': randomBytes(100) });
  const staging = await store.createStaging();
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(path.dirname(packageFilePath(staging, name)), { recursive: true });
    await writeFile(packageFilePath(staging, name), bytes);
  }
  await writeManifest(staging, manifest);
  await store.publish(staging, manifest.id);
  await registerPolicy(db, { id: manifest.id, name: 'made', manifest });
  return manifest.id;
}

const [active, tried] = [await publish(), await publish()];
await activatePolicy(db, active, 'test');

test('attune canary starts one, which is listed, shown and cancelled', async () => {
  assert.match(run('canary', 'list').stdout, /^no canaries yet; /);
  assert.match(run('canary', 'show').stderr, /^attune: canary show: no canary runs, and no policy is watched/);
  const started = run('canary', 'start', tried, '--share', '0.25');
  assert.equal(started.status, 0, started.stderr);
  const { id } = (await findRunningCanary(db))!;
  assert.equal(started.stdout, `${id}: ${tried} gets 25% of the completions beside ${active}\n`);
  assert.match(
    run('policies', 'list').stdout,
    new RegExp(`^~ ${tried}.*\\n\\* ${active}|^\\* ${active}.*\\n~ ${tried}`),
  );
  const [header, row] = run('canary', 'list').stdout.split('\n');
  assert.match(header!, /^id +policy +baseline +state +started +reason$/);
  assert.match(row!, new RegExp(`^${id} +${tried} +${active} +running +\\d{4}-`));

  const votes = [...'WWLT'].map((letter, at) => {
    const choice = ({ W: 'a', L: 'b', T: 'tie' } as const)[letter as 'W'];
    return { a: tried, b: active, choice, rater: `user:${at}`, prompt: `${at}`, canary: id };
  });
  await storePolicyVotes(db, 'default', votes);
  const reason = 'gate: agrees with the raters more than the policy it would replace';
  const round = { id: 'round_r', status: 'succeeded', stage: 'canary', trigger: 'api', settings: {}, reason } as const;
  await db.insert(rounds).values(round);
  await db.update(canaries).set({ round_id: 'round_r' }).where(eq(canaries.id, id));
  const shown = run('canary', 'show').stdout;
  for (const line of [
    `its round  ${reason}`,
    `${id}  running`,
    `policy     ${tried}, 25.0% of the completions`,
    `baseline   ${active}`,
    'votes      2 for it, 1 against it, 1 ties, 0 both bad, 0 on a comparison that has one, 0 over the limit of a rater; 4 raters',
    'evidence   E+ 0.917, E− 0.417; 20 decides',
  ])
    assert.ok(shown.includes(`${line}\n`), shown);
  assert.match(shown, /^win rate {3}66\.7% \(\d+\.\d% to \d+\.\d%\)$/m);
  assert.match(shown, /^errors +waiting +requests that failed: 0 observations of the candidate/m);

  const beside = run('canary', 'start', tried);
  assert.match(
    beside.stderr,
    /there is one at a time; wait until it is decided, or cancel it: npx attune canary cancel$/m,
  );
  const second = run('canary', 'start', active);
  assert.deepEqual([second.status, second.stdout], [1, '']);
  assert.match(second.stderr, /^attune: pol_\S+ is the active policy; nothing can be tried/);
  assert.equal(run('canary', 'cancel').stdout, `${tried} is a canary no longer\n`);
  const again = run('canary', 'cancel', id);
  assert.equal(again.status, 1);
  assert.match(again.stderr, new RegExp(`canary cancel: ${id} has ended: cancelled, cancelled by a command`));
});

test('attune canary refuses an unknown policy, one without a package, a wrong share and an unknown canary', async () => {
  await registerPolicy(db, { id: `pol_${'1'.repeat(32)}`, name: 'lost', manifest: makePackage({}).manifest });
  const errors: [string[], RegExp][] = [
    [['start', 'pol_none'], /^attune: there is no policy pol_none/],
    [['start', `pol_${'1'.repeat(32)}`], /^attune: .*is not in /],
    [['start', tried, '--share', '0.9'], /give a number above 0 and up to 0\.5/],
    [['cancel', 'canary_none'], /^attune: there is no canary canary_none/],
    [['cancel'], /^attune: canary cancel: no canary runs/],
  ];
  for (const [args, message] of errors) {
    const { status, stderr } = run('canary', ...args);
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
  assert.equal(await findRunningCanary(db), null);
});

test('attune policies rollback --from a policy that is active no longer changes nothing', async () => {
  await activatePolicy(db, tried, 'test');
  const back = run('policies', 'rollback', '--from', tried);
  assert.equal(back.stdout, `${active} is active\n`, back.stderr);
  const again = run('policies', 'rollback', '--from', tried);
  assert.deepEqual([again.status, again.stdout], [1, '']);
  assert.ok(again.stderr.startsWith(`attune: ${active} is active, not ${tried}; nothing was changed; `), again.stderr);
});
