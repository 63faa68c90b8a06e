import { mark, pause } from "./marks.mjs";

export function objects(restate, named) {
  const { exclusive, shared } = restate.handlers.object;
  const handlers = {
    add: async (ctx, number) => {
      const sum = ((await ctx.get("sum")) ?? 0) + number;
      ctx.set("sum", sum);
      return sum;
    },
    set: async (ctx, [name, value]) => ctx.set(name, value),
    clear: async (ctx, name) => ctx.clear(name),
    clearAll: async (ctx) => ctx.clearAll(),
    // what one invocation sees of its own changes
    change: async (ctx) => {
      ctx.set("a", 1);
      ctx.set("b", { deep: [true] });
      const both = (await ctx.stateKeys()).sort();
      ctx.clear("a");
      const seen = [both, await ctx.get("a"), await ctx.get("b")];
      ctx.clearAll();
      return [...seen, await ctx.stateKeys()];
    },
    bytes: async (ctx, numbers) => {
      ctx.set("bytes", new Uint8Array(numbers), restate.serde.binary);
      return [...(await ctx.get("bytes", restate.serde.binary))];
    },
    own: async (ctx) => ctx.key,
    // takes its time between reading and writing: a second one in between would be lost
    slowly: async (ctx, number) => {
      const sum = (await ctx.get("sum")) ?? 0;
      await pause(100);
      ctx.set("sum", sum + number);
      return sum + number;
    },
    hold: async (ctx) => {
      ctx.set("sum", 42);
      mark(ctx, "holds");
      return ctx.awakeable().promise;
    },
    get: shared(async (ctx, name) => ctx.get(name)),
    keys: shared(async (ctx) => (await ctx.stateKeys()).sort()),
  };
  return [
    restate.object({ name: named("Counter"), handlers }),
    restate.object({ name: named("LazyCounter"), handlers, options: { enableLazyState: true } }),
    restate.object({
      name: named("Keyed"),
      handlers: { request: exclusive({}, async (ctx) => [`${ctx.request().target}`, ctx.request().target.key]) },
    }),
  ];
}
