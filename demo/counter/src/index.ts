// A virtual object: state under a key, kept by Restate. `counter/likes` and `counter/visits` are two counters.
import {
  type ObjectContext,
  type ObjectSharedContext,
  TerminalError,
  createEndpointHandler,
  handlers,
  object,
} from "@restatedev/restate-sdk-cloudflare-workers/fetch";

interface State {
  value: number;
}

const counter = object({
  name: "counter",
  handlers: {
    // One call at a time for each key: between `get` and `set` no other call comes in, so no addition is lost.
    add: async (ctx: ObjectContext<State>, n?: number): Promise<number> => {
      if (typeof n !== "number") throw new TerminalError("add takes a number, as in 2", { errorCode: 400 });
      const value = ((await ctx.get("value")) ?? 0) + n;
      ctx.set("value", value);
      return value;
    },

    // A shared handler only reads, and need not wait for its turn.
    get: handlers.object.shared(async (ctx: ObjectSharedContext<State>): Promise<number> => {
      return (await ctx.get("value")) ?? 0;
    }),

    reset: async (ctx: ObjectContext<State>): Promise<void> => {
      ctx.clear("value");
    },
  },
});

export default { fetch: createEndpointHandler({ services: [counter], bidirectional: true }) };
