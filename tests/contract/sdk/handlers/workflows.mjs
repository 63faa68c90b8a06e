import { mark } from "./marks.mjs";

export function workflows(restate, named) {
  return [
    restate.workflow({
      name: named("Signup"),
      handlers: {
        run: async (ctx, name) => {
          ctx.set("status", `waits for ${name}`);
          const greeting = await ctx.run("greet", () => {
            mark(ctx, "greeted");
            return `Hello ${name}`;
          });
          const decision = await ctx.promise("decision");
          ctx.set("status", "decided");
          return { greeting, decision, key: ctx.key };
        },
        decide: async (ctx, decision) => ctx.promise("decision").resolve(decision),
        refuse: async (ctx, reason) => ctx.promise("decision").reject(reason),
        peek: async (ctx) => (await ctx.promise("decision").peek()) ?? "undecided",
        decision: async (ctx) => ctx.promise("decision"),
        status: async (ctx) => ctx.get("status"),
      },
      options: { workflowRetention: { hours: 1 } },
    }),
    restate.service({
      name: named("Registrar"),
      handlers: {
        signUp: async (ctx, key) => {
          const signup = ctx.workflowClient({ name: named("Signup") }, key);
          const running = signup.run("Ada");
          await signup.decide("by the registrar");
          return running;
        },
        sendOff: async (ctx, key) => {
          const sent = ctx.workflowSendClient({ name: named("Signup") }, key).run("Ada");
          return sent.invocationId;
        },
      },
    }),
  ];
}
