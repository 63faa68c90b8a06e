import { type Context, TerminalError, createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { greeting } from "./greeting.ts";

const greeter = service({
  name: "@NAME@",
  handlers: {
    greet: async (ctx: Context, name?: string): Promise<string> => {
      // Restate tries a handler that fails again, until it succeeds. A TerminalError is final: the caller gets it.
      if (typeof name !== "string" || name === "") {
        throw new TerminalError('greet takes a name, as in "Ada"', { errorCode: 400 });
      }
      // A step: its function runs once, its result is journalled. After a crash the handler runs again from the top and
      // gets the hour that it had.
      const hour = await ctx.run("look at the clock", () => new Date().getUTCHours());
      return greeting(name, hour);
    },
  },
});

// `bidirectional` keeps one stream open for a whole call instead of one request for each step.
export default { fetch: createEndpointHandler({ services: [greeter], bidirectional: true }) };
