// Compiles the WebAssembly module. Node looks for the compiler in the node_modules directories here and above.
import { main } from "assemblyscript/asc";

const { error, stderr } = await main([
  "assembly/primes.ts",
  ...["--outFile", "src/primes.wasm"],
  ...["--optimizeLevel", "3"],
  ...["--runtime", "stub"], // no garbage collector: the module allocates nothing
]);
process.stderr.write(stderr.toString());
if (error) process.exitCode = 1;
