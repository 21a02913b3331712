// Builds the pages into pages/dist, static files that Node and the Worker's assets serve: what Vite makes of the pages, and
// the files of /docs from the npm package. `node pages/build.ts` builds if the sources are newer; `--force` builds anyway.

import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const ROOT = path.dirname(import.meta.dirname);
const DIST = path.join(ROOT, 'pages/dist');
/** Written last, so that it is as old as the build. */
const STAMP = path.join(DIST, '.built');
const SOURCES = ['pages/**/*.{ts,tsx,css,html,svg}', 'package-lock.json'];
/** What builds write, and what they do not read. */
const NO_SOURCES = ['pages/dist*/**', 'pages/api-types.ts', '**/*.test.ts'];
const DOCS_FILES = ['swagger-ui.css', 'swagger-ui-bundle.js'];

/** In a process of its own, whose memory ends with it. Throws if the build fails. */
export function buildIfStale(log: (line: string) => void = () => {}): void {
  if (!isStale()) return;
  log('pages: building (once; takes a few seconds)');
  const { status, stderr, error } = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { encoding: 'utf8' });
  if (status !== 0) throw error ?? new Error(`the pages were not built: ${stderr.trim()}`);
}

function isStale(): boolean {
  if (!existsSync(STAMP)) return true;
  const built = statSync(STAMP).mtimeMs;
  return globSync(SOURCES, { cwd: ROOT, exclude: NO_SOURCES }).some(
    (file) => statSync(path.join(ROOT, file)).mtimeMs > built,
  );
}

/** Replaces the folder at once, because another process may be reading it. */
async function build(): Promise<void> {
  const { build } = await import('vite');
  const outDir = `${DIST}.${process.pid}`;
  const replaced = `${outDir}.replaced`;
  try {
    for (const config of ['vite.config.ts', 'embed/vite.config.ts'])
      await build({
        root: path.join(ROOT, 'pages'),
        configFile: path.join(ROOT, 'pages', config),
        build: { outDir },
      });
    mkdirSync(path.join(outDir, 'docs'));
    for (const name of DOCS_FILES)
      cpSync(fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`)), path.join(outDir, 'docs', name));
    compress(outDir);
    writeFileSync(path.join(outDir, '.built'), '');
    if (existsSync(DIST)) renameSync(DIST, replaced);
    renameSync(outDir, DIST);
  } finally {
    for (const folder of [outDir, replaced]) rmSync(folder, { recursive: true, force: true });
  }
}

/** For Node, which compresses nothing while it serves. Cloudflare does, and gets no second copies. */
function compress(folder: string): void {
  for (const file of globSync('**/*.{css,html,js,svg}', { cwd: folder }).map((name) => path.join(folder, name)))
    writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
  writeFileSync(path.join(folder, '.assetsignore'), '*.gz\n.built\n');
}

if (import.meta.main && (process.argv.includes('--force') || isStale())) await build();
