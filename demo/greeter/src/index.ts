// A service: handlers without state of their own, any number of calls at once.
import { env } from "cloudflare:workers";
import { type Context, TerminalError, createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";

const VERSION = "1.0.0";

interface Nap {
  name: string;
  seconds: number;
}

const greeter = service({
  name: "greeter",
  handlers: {
    greet: async (_ctx: Context, name?: string): Promise<string> => {
      if (typeof name !== "string") throw refusal('greet takes a name, as in "Ada"');
      return `${env.GREETING} ${name}, this is greeter ${VERSION}`;
    },

    // A durable call. Restate writes each step into a journal; after a crash, or when the handler was put aside
    // during the sleep, it runs again from the top and gets the steps that are done out of the journal.
    slow: async (ctx: Context, nap?: Nap): Promise<string> => {
      if (!isNap(nap)) throw refusal('slow takes a name and 0 to 3600 seconds, as in {"name": "Ada", "seconds": 10}');

      // `run` is a step: its function runs once, its result is journalled.
      const begun = await ctx.run("begin", () => VERSION);
      // A timer in Restate, not in this process: it outlives the process.
      await ctx.sleep({ seconds: nap.seconds });
      // Whatever was deployed meanwhile: a call ends on the version that it began on.
      const finished = await ctx.run("finish", () => VERSION);

      return `${env.GREETING} ${nap.name}, begun by greeter ${begun}, finished by greeter ${finished}`;
    },
  },
});

function isNap(nap: Nap | undefined): nap is Nap {
  return typeof nap?.name === "string" && typeof nap.seconds === "number" && nap.seconds >= 0 && nap.seconds <= 3600;
}

// Restate tries a handler that fails again, until it succeeds. A TerminalError is final: the caller gets it.
function refusal(sentence: string): TerminalError {
  return new TerminalError(sentence, { errorCode: 400 });
}

// `bidirectional` keeps one stream open for a whole call instead of one request for each step.
export default { fetch: createEndpointHandler({ services: [greeter], bidirectional: true }) };
