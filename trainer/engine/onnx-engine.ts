// The engine by its old name.
export { type EngineOptions as OnnxEngineOptions, openEngine as openOnnxEngine } from './open.ts';
