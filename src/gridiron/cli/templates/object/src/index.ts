import {
  type ObjectContext,
  type ObjectSharedContext,
  TerminalError,
  createEndpointHandler,
  handlers,
  object,
} from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { EMPTY, type Tally, add } from "./tally.ts";

interface State {
  tally: Tally;
}

const tallies = object({
  name: "@NAME@",
  handlers: {
    // One call at a time for each key: between `get` and `set` no other call comes in, so nothing is lost.
    add: async (ctx: ObjectContext<State>, value?: number): Promise<Tally> => {
      // Restate tries a handler that fails again, until it succeeds. A TerminalError is final: the caller gets it.
      if (typeof value !== "number") throw new TerminalError("add takes a number, as in 4", { errorCode: 400 });
      const tally = add((await ctx.get("tally")) ?? EMPTY, value);
      ctx.set("tally", tally);
      return tally;
    },

    // A shared handler only reads, and need not wait for its turn.
    get: handlers.object.shared(async (ctx: ObjectSharedContext<State>): Promise<Tally> => {
      return (await ctx.get("tally")) ?? EMPTY;
    }),

    reset: async (ctx: ObjectContext<State>): Promise<void> => {
      ctx.clearAll();
    },
  },
});

// `bidirectional` keeps one stream open for a whole call instead of one request for each step.
export default { fetch: createEndpointHandler({ services: [tallies], bidirectional: true }) };
