// A .wasm file as wrangler's rule CompiledWasm gives it: compiled when the Worker is deployed.
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
