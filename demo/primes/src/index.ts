// A service whose work is done in WebAssembly. assembly/primes.ts is its source, build.mjs compiles it.
import { type Context, TerminalError, createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import wasm from "./primes.wasm";

// What assembly/primes.ts exports.
interface Sieve {
  readonly LIMIT: WebAssembly.Global<"i32">;
  count(below: number): number;
  largest(below: number): number;
}

const sieve = new WebAssembly.Instance(wasm).exports as unknown as Sieve;
const LIMIT = sieve.LIMIT.value;

interface Range {
  below: number;
}

const primes = service({
  name: "primes",
  handlers: {
    // `run` journals the result: if this call is tried again, the number is read and not worked out once more.
    count: async (ctx: Context, range?: Range): Promise<number> => {
      const below = checked(range);
      return ctx.run("count", () => sieve.count(below));
    },

    largest: async (ctx: Context, range?: Range): Promise<number | null> => {
      const below = checked(range);
      return ctx.run("largest", () => sieve.largest(below) || null);
    },
  },
});

// A TerminalError is final: Restate gives it to the caller and does not try again.
function checked(range: Range | undefined): number {
  const below = range?.below;
  if (below === undefined || !Number.isInteger(below) || below < 0 || below > LIMIT) {
    throw new TerminalError(`below has to be a whole number from 0 to ${LIMIT}`, { errorCode: 400 });
  }
  return below;
}

export default { fetch: createEndpointHandler({ services: [primes], bidirectional: true }) };
