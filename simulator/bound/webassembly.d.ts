// The declarations of highs name WebAssembly.Module, which TypeScript knows only with the library of browsers.
declare namespace WebAssembly {
  interface Module {}
}
