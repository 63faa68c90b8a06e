// What tests/acceptance/test_secrets.py deploys: it tells the digests of its secrets, and never a secret.
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";

async function digest(text) {
  if (text === undefined) return null;
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

let endpoint; // of this build
const makeEndpoint = (env) => {
  const told = (key) => digest(env[key]);
  const keeper = restate.service({
    name: "keeper",
    handlers: {
      tell: (_ctx, key) => told(key),
      tellTwice: async (ctx, { key, millis }) => {
        const begun = await ctx.run("begin", () => told(key));
        await ctx.sleep(millis);
        return { begun, ended: await told(key) };
      },
    },
  });
  return restate.createEndpointHandler({ services: [keeper], bidirectional: true });
};

export default {
  fetch(request, env, ctx) {
    endpoint ??= makeEndpoint(env);
    return endpoint(request, env, ctx);
  },
};
