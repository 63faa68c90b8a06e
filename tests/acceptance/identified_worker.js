// Tells the token that it was called with, and checks it by the SDK too where the variable KEY names a key.
import { env } from "cloudflare:workers";
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
let token = null;
const service = restate.service({
  name: "@SERVICE@",
  handlers: {
    token: async () => token,
    work: async (ctx, { steps = 1, millis = 0 } = {}) => {
      for (let step = 0; step < steps; step++) await ctx.run(`step ${step}`, () => step);
      if (millis > 0) await ctx.sleep(millis);
      return "@VERSION@";
    },
  },
});
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
const identityKeys = env.KEY === undefined ? undefined : [env.KEY];
const handle = restate.createEndpointHandler({ services: [service], bidirectional, identityKeys });
export default {
  fetch(request, ...rest) {
    token = request.headers.get("x-restate-jwt-v1");
    return handle(request, ...rest);
  },
};
