// What tests/acceptance/test_backup.py deploys: counters, a handler that sleeps, and the length of a secret.
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";

const VERSION = "@VERSION@";

const counter = restate.object({
  name: "counter",
  handlers: {
    add: async (ctx) => {
      const value = ((await ctx.get("value")) ?? 0) + 1;
      ctx.set("value", value);
      return value;
    },
    read: async (ctx) => (await ctx.get("value")) ?? 0,
  },
});

let endpoint; // of this build
const makeEndpoint = (env) => {
  const sleeper = restate.service({
    name: "sleeper",
    handlers: {
      version: async () => VERSION,
      secret: async () => env.TOKEN?.length ?? null,
      sleep: async (ctx, millis) => {
        const begun = await ctx.run("begin", () => VERSION);
        await ctx.sleep(millis);
        return { begun, ended: VERSION };
      },
    },
  });
  return restate.createEndpointHandler({ services: [counter, sleeper], bidirectional: true });
};

export default {
  fetch(request, env, ctx) {
    endpoint ??= makeEndpoint(env);
    return endpoint(request, env, ctx);
  },
};
