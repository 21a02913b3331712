// How Vite builds the pages. Every file under assets/ has the hash of its content in its name, and may be cached for ever.

import { defineConfig } from 'vite';

export default defineConfig({
  base: '/',
  logLevel: 'warn',
  publicDir: false,
  build: {
    target: 'es2022',
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    // ECharts, which is loaded with the first plot.
    chunkSizeWarningLimit: 800,
    rolldownOptions: {
      input: { rate: 'rate/index.html', console: 'console/index.html' },
    },
  },
});
