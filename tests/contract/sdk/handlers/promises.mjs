import { mark } from "./marks.mjs";

export function promises(restate, named) {
  const describe = (error) => [error.name, error instanceof restate.TerminalError, error.code, error.message];
  return [
    restate.service({
      name: named("Promises"),
      handlers: {
        wait: async (ctx) => {
          const { id, promise } = ctx.awakeable();
          mark(ctx, `awakeable ${id}`);
          try {
            return { value: await promise };
          } catch (error) {
            return { error: describe(error), metadata: error.metadata };
          }
        },
        waitForBytes: async (ctx) => {
          const { id, promise } = ctx.awakeable(restate.serde.binary);
          mark(ctx, `awakeable ${id}`);
          return [...(await promise)];
        },
        resolve: async (ctx, [id, value]) => ctx.resolveAwakeable(id, value),
        resolveWithNothing: async (ctx, id) => ctx.resolveAwakeable(id),
        resolveWithBytes: async (ctx, [id, bytes]) => {
          ctx.resolveAwakeable(id, new Uint8Array(bytes), restate.serde.binary);
        },
        reject: async (ctx, [id, reason]) => ctx.rejectAwakeable(id, reason),
        rejectWithCode: async (ctx, [id, reason, errorCode]) => {
          ctx.rejectAwakeable(id, new restate.TerminalError(reason, { errorCode, metadata: { why: "test" } }));
        },
        waitForSignal: async (ctx) => {
          try {
            return { values: [await ctx.signal("first"), await ctx.signal("second")] };
          } catch (error) {
            return { error: describe(error) };
          }
        },
        signal: async (ctx, [id, name, value]) => ctx.invocation(id).signal(name).resolve(value),
        rejectSignal: async (ctx, [id, name, reason]) => ctx.invocation(id).signal(name).reject(reason),
      },
    }),
  ];
}
