// A .wasm file is imported as a module that workerd has compiled, ready to be instantiated.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
