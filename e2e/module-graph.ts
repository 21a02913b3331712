// The files and packages that a program loads, from its import statements without type imports.

import { readFileSync } from 'node:fs';
import path from 'node:path';

const PATTERNS = [
  /^(?:import|export)(?! type)(?: [^;'`]*? from)? '([^']+)'/gm,
  /\bimport\('([^']+)'\)/g,
  /\bresolve\(\s*['`]([@\w][^'`$]*)/g,
  /\bnew URL\(\s*'(\.[^']*)', import\.meta\.url/g,
];

export type ModuleGraph = { files: string[]; packages: string[] };

/** Paths are relative to `root`. */
export function resolveModuleGraph(root: string, entry: string): ModuleGraph {
  const files = new Set<string>();
  const packages = new Set<string>();
  const pending = [entry];
  for (let file = pending.pop(); file; file = pending.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    if (!file.endsWith('.ts')) continue;
    const source = readFileSync(path.join(root, file), 'utf8');
    for (const [, name] of PATTERNS.flatMap((pattern) => [...source.matchAll(pattern)])) {
      if (name!.startsWith('.')) pending.push(path.join(path.dirname(file), name!));
      else if (!name!.startsWith('node:') && !name!.startsWith('cloudflare:'))
        packages.add(
          name!
            .split('/')
            .slice(0, name!.startsWith('@') ? 2 : 1)
            .join('/'),
        );
    }
  }
  return { files: [...files].sort(), packages: [...packages].sort() };
}
