// edge/worker.ts with the stub container of forward-worker.ts, for e2e/wasm-fallback.test.ts.

export { default } from '../edge/worker.ts';
export { StubContainer as EdgeContainer } from './forward-worker.ts';
