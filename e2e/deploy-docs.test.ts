// Settings, error codes, files and commands in docs/deploy.md exist.

import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { addBackup } from '../cli/backup.ts';
import { addDoctor } from '../cli/doctor.ts';
import { addPolicies } from '../cli/policies.ts';
import { addRestore } from '../cli/restore.ts';
import { addServe } from '../cli/serve.ts';
import { addTensorflow } from '../cli/tensorflow.ts';
import { addTrain } from '../cli/train.ts';
import { describeSettings } from '../shared/settings.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const text = readFileSync(path.join(ROOT, 'docs/deploy.md'), 'utf8');
const all = (pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map((match) => match[1]!))];

test('every setting in the guide exists', () => {
  const known = new Set(describeSettings().map(({ name }) => name));
  const named = [...all(/`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`/g), ...all(/^([A-Z][A-Z0-9_]+)=\S/gm)];
  assert.ok(named.length > 8);
  assert.deepEqual(
    // OpenTelemetry's own variables are read by its packages.
    named.filter((name) => !known.has(name) && !name.startsWith('OTEL_')),
    [],
  );
});

test('every error code in the guide is an error code of the API', () => {
  const sources = globSync('{edge,shared}/**/*.ts', { cwd: ROOT }).filter((name) => !name.endsWith('.test.ts'));
  const code = sources.map((name) => readFileSync(path.join(ROOT, name), 'utf8')).join('\n');
  const named = all(/\b[45]\d\d,? `([a-z_]+)`/g);
  assert.ok(named.includes('missing_binding'));
  for (const name of named) assert.ok(code.includes(`'${name}'`), name);
});

test('every file in the guide exists', () => {
  const named = all(/(?:^|[`( ])((?:docs|edge|trainer|e2e)\/[\w./-]+\.\w+|(?:edge|trainer)\/Dockerfile)/gm);
  assert.ok(named.includes('edge/Dockerfile'));
  for (const name of named) assert.ok(existsSync(path.join(ROOT, name)), name);
});

test('every `attune` command in the guide exists', () => {
  const program = new Command();
  for (const add of [addServe, addTrain, addPolicies, addBackup, addRestore, addTensorflow, addDoctor]) add(program);
  const commands = all(/(?:npx attune|cli\.ts) ([a-z]+(?: (?:list|import|rollback|send|install)| --[a-z]+)?)/g);
  for (const expected of ['policies rollback', 'train --due']) assert.ok(commands.includes(expected), expected);
  for (const words of commands.map((command) => command.split(' '))) {
    let command: Command | undefined = program;
    for (const word of words) {
      if (word.startsWith('--'))
        assert.ok(
          command?.options.some(({ long }) => long === word),
          words.join(' '),
        );
      else command = command?.commands.find((item) => item.name() === word);
    }
    assert.ok(command, words.join(' '));
  }
});

test('the Cloudflare section has ten steps', () => {
  const [, section] = /## Cloudflare in ten steps\n([\s\S]*?)\n## /.exec(text)!;
  assert.deepEqual(
    [...section!.matchAll(/^(\d+)\. /gm)].map((match) => Number(match[1])),
    Array.from({ length: 10 }, (_, at) => at + 1),
  );
});
