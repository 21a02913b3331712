// The whole Worker, with a container whose machine is played (forward-worker.ts), for e2e/wasm-fallback.test.ts.

export { default } from '../edge/worker.ts';
export { PlayedContainer as EdgeContainer } from './forward-worker.ts';
