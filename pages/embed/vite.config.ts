// How Vite builds /embed.js: one classic script of everything, which a page of any origin loads by its one name.

import { defineConfig } from 'vite';

export default defineConfig({
  logLevel: 'warn',
  publicDir: false,
  build: {
    target: 'es2022',
    emptyOutDir: false,
    lib: { entry: 'embed/attune-compare.ts', formats: ['iife'], name: 'AttuneCompare', fileName: () => 'embed.js' },
  },
});
