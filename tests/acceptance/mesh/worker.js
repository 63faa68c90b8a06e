// What a mesh serves, in any version and under any service name: see gridiron.testing.probe for the placeholders.
// Every answer says the version that it began on and the one that it ended on.
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";

const VERSION = "@VERSION@";

const between = async (ctx, work) => {
  const begun = await ctx.run("begin", () => VERSION);
  const value = await work();
  const ended = await ctx.run("end", () => VERSION);
  return { begun, ended, value };
};

const service = restate.service({
  name: "@SERVICE@",
  handlers: {
    work: (ctx, { number, millis }) =>
      between(ctx, async () => {
        await ctx.sleep(millis);
        return number;
      }),
    version: async () => VERSION,
    say: async (_ctx, text) => {
      console.log(text);
      return VERSION;
    },
  },
});

const counter = restate.object({
  name: "@SERVICE@-counter",
  handlers: {
    add: (ctx) =>
      between(ctx, async () => {
        const value = ((await ctx.get("value")) ?? 0) + 1;
        ctx.set("value", value);
        return value;
      }),
    read: (ctx) => between(ctx, async () => (await ctx.get("value")) ?? 0),
  },
});

const bidirectional = JSON.parse("@BIDIRECTIONAL@"); // a comparison would be folded away by esbuild
export default { fetch: restate.createEndpointHandler({ services: [service, counter], bidirectional }) };
