import { countAttempt, mark } from "./marks.mjs";

export function errors(restate, named) {
  const { handler } = restate.handlers;
  const { RestateError, RetryableError, TerminalError } = restate;
  /** A handler that throws until its third attempt, or another. */
  const failing = (toThrow, success = 3) => async (ctx) => {
    const attempt = countAttempt(ctx);
    mark(ctx, `attempt ${attempt}`);
    if (attempt < success) throw toThrow();
    return `by attempt ${attempt}`;
  };
  const hopeless = (ctx) => {
    mark(ctx, `attempt ${countAttempt(ctx)}`);
    throw new Error("hopeless");
  };
  const limited = (onMaxAttempts) => ({ retryPolicy: { initialInterval: 20, maxAttempts: 3, onMaxAttempts } });
  return [
    restate.service({
      name: named("Errors"),
      handlers: {
        refuse: async (_, errorCode) => {
          throw new TerminalError("no tea", { errorCode, metadata: { pot: "empty" } });
        },
        refuseWithoutCode: async () => {
          throw new TerminalError("no tea");
        },
        refuseSynchronously: () => {
          throw new TerminalError("no tea", { errorCode: 418 });
        },
        fail: failing(() => new Error("not yet")),
        failWithCode: failing(() => new RestateError("not yet", { errorCode: 400 })),
        failLater: failing(() => new RetryableError("not yet", { retryAfter: { milliseconds: 30 } })),
        throwText: failing(() => "a text"),
        throwNothing: failing(() => undefined),
        throwObject: failing(() => ({ code: 418, message: "an object" })),
        rejectUnawaited: async (ctx) => {
          mark(ctx, `attempt ${countAttempt(ctx)}`);
          ctx.run("unawaited", () => { throw new TerminalError("nobody waits for it"); });
          return "answered";
        },
        diesOut: handler(limited("kill"), async (ctx) => hopeless(ctx)),
        pauses: handler(limited("pause"), failing(() => new Error("not yet"), 4)),
        changesItsMind: handler(limited("kill"), async (ctx) => {
          const attempt = countAttempt(ctx);
          mark(ctx, `attempt ${attempt}`);
          if (attempt === 1) await ctx.run("a step", () => 1);
          else await ctx.sleep(1);
          throw new Error("again");
        }),
        hasNoJson: async (ctx) => {
          const attempt = countAttempt(ctx);
          mark(ctx, `attempt ${attempt}`);
          return attempt < 2 ? 1n : "mended";
        },
      },
      options: { retryPolicy: { initialInterval: 20, maxInterval: 50 } },
    }),
  ];
}
