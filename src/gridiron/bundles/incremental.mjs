// Builds a project by esbuild again and again, and each time only what changed since. Arguments: esbuild's module.
// Each line of the input is the options of one build; each line of the output is what came of it. Ends with its input.
import { createInterface } from "node:readline";

const { context } = await import(process.argv[2]);
process.stdout.on("error", () => process.exit()); // whoever read has gone
let current = null; // { key, context } of the options that were built by last

async function prepare(key) {
  if (current?.key === key) return current.context;
  await current?.context.dispose();
  current = null; // where the next one cannot be made
  current = { key, context: await context(JSON.parse(key)) };
  return current.context;
}

async function build(key) {
  try {
    const { warnings, metafile } = await (await prepare(key)).rebuild();
    return { errors: [], warnings, metafile };
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    return { errors: error.errors, warnings: error.warnings ?? [], metafile: null };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await build(line))}\n`);
}
await current?.context.dispose();
