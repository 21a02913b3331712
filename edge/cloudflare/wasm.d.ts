// A .wasm import under wrangler's CompiledWasm rule: a module that is compiled when the Worker is deployed.
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
