import { countAttempt, mark } from "./marks.mjs";

export function options(restate, named) {
  const { handler } = restate.handlers;
  return [
    restate.service({
      name: named("Options"),
      description: "has every option",
      metadata: { of: "the service" },
      handlers: {
        own: handler(
          {
            description: "has options of its own",
            metadata: { of: "the handler" },
            journalRetention: { minutes: 2 },
            idempotencyRetention: { minutes: 3 },
            inactivityTimeout: { seconds: 4 },
            abortTimeout: { seconds: 5 },
            retryPolicy: { maxAttempts: 6, onMaxAttempts: "kill", initialInterval: 7, exponentiationFactor: 8 },
          },
          async () => "own",
        ),
        inherited: async () => "inherited",
        hidden: handler({ ingressPrivate: true }, async () => "hidden"),
        callHidden: async (ctx) => ctx.serviceClient({ name: named("Options") }).hidden(),
        names: async () => Object.keys(restate).filter((name) => name !== "default").sort(),
        // is told once, although the attempt is repeated
        log: async (ctx) => {
          const attempt = countAttempt(ctx);
          ctx.console.info("before the step", { attempt });
          await ctx.run("step", () => 1);
          ctx.console.warn("after the step");
          mark(ctx, `attempt ${attempt}`);
          if (attempt < 2) throw new Error("again");
          return ctx.isProcessing();
        },
      },
      options: { journalRetention: { hours: 1 }, idempotencyRetention: { hours: 2 }, inactivityTimeout: { hours: 3 } },
    }),
    restate.service({
      name: named("Private"),
      handlers: { answer: async () => "hidden" },
      options: { ingressPrivate: true },
    }),
  ];
}
