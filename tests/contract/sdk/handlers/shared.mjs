// What invocations share in memory: caches, locks, whatever a module keeps.
import { mark, pause } from "./marks.mjs";

export function shared(restate, named) {
  let cache;
  const waiting = new Map();
  const load = async (ctx) => {
    mark(ctx, "loads");
    await pause(500);
    mark(ctx, "has loaded");
    return "loaded";
  };
  return [
    restate.service({
      name: named("Shared"),
      handlers: {
        load: async (ctx) => {
          mark(ctx, "begins");
          cache ??= load(ctx);
          return cache;
        },
        forget: async () => {
          cache = undefined;
        },
        waitInMemory: async (ctx, key) => {
          const { promise, resolve } = Promise.withResolvers();
          waiting.set(key, resolve);
          mark(ctx, "waits");
          const value = await promise;
          mark(ctx, "goes on");
          await pause(100);
          return ctx.run("step", () => value);
        },
        resolveInMemory: async (ctx, [key, value]) => waiting.get(key)(value),
      },
    }),
  ];
}
