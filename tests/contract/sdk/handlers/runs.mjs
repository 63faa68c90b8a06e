import { countAttempt, mark, pause } from "./marks.mjs";

export function runs(restate, named) {
  const { TerminalError, RetryableError, RestateError } = restate;
  const quick = { initialRetryInterval: 10, maxRetryInterval: 20 };
  const describe = (error) => [error.name, error instanceof TerminalError, error.code, error.message];
  const settle = (promise) => promise.then((value) => ({ value }), (error) => ({ error: describe(error) }));
  /** A closure that fails until it has been called `times`. Each call leaves a mark. */
  const failing = (ctx, times, toThrow) => () => {
    const attempt = countAttempt(ctx);
    mark(ctx, `closure ${attempt}`);
    if (attempt < times) throw toThrow(attempt);
    return `closure ${attempt}`;
  };
  class OutOfStock extends Error {}
  return [
    restate.service({
      name: named("Runs"),
      handlers: {
        values: async (ctx) => [
          await ctx.run(() => "without a name"),
          await ctx.run("synchronous", () => 1),
          await ctx.run("asynchronous", async () => ({ deep: [null, true] })),
          (await ctx.run("nothing", () => {})) ?? "nothing",
          [...(await ctx.run("bytes", () => new Uint8Array([1, 2]), { serde: restate.serde.binary }))],
        ],
        retried: async (ctx) => ctx.run("flaky", failing(ctx, 3, () => new Error("not yet")), quick),
        givesUp: async (ctx) => {
          const options = { ...quick, maxRetryAttempts: 3 };
          return settle(ctx.run("hopeless", failing(ctx, Infinity, (attempt) => new Error(`failure ${attempt}`)), options));
        },
        givesUpInTime: async (ctx) => {
          const options = { ...quick, maxRetryDuration: { milliseconds: 300 } };
          return settle(ctx.run("hopeless", failing(ctx, Infinity, (attempt) => new Error(`failure ${attempt}`)), options));
        },
        refuses: async (ctx) => {
          const error = new TerminalError("no tea", { errorCode: 418, metadata: { pot: "empty" } });
          try {
            return await ctx.run("refuse", failing(ctx, Infinity, () => error), quick);
          } catch (caught) {
            return [...describe(caught), caught.metadata];
          }
        },
        retriesAfter: async (ctx) => {
          const later = () => new RetryableError("later", { retryAfter: { milliseconds: 300 } });
          const before = await ctx.date.now();
          const value = await ctx.run("later", failing(ctx, 2, later));
          return [value, (await ctx.date.now()) - before];
        },
        wrapped: async (ctx) => {
          const later = () => RetryableError.from(new Error("inner"), { retryAfter: 10 });
          return settle(ctx.run("later", failing(ctx, Infinity, later), { maxRetryAttempts: 2 }));
        },
        throwsOdd: async (ctx) => {
          const odd = ["a text", { code: 400, message: "an object" }, null];
          const options = { ...quick, maxRetryAttempts: 1 };
          const outcomes = [];
          for (const thrown of odd) outcomes.push(await settle(ctx.run("odd", () => { throw thrown; }, options)));
          return outcomes;
        },
        throwsRestateError: async (ctx) => {
          const error = () => new RestateError("not terminal", { errorCode: 400 });
          return settle(ctx.run("odd", failing(ctx, Infinity, error), { ...quick, maxRetryAttempts: 2 }));
        },
        mapped: restate.handlers.handler(
          {
            asTerminalError: (error) => {
              return error instanceof OutOfStock ? new TerminalError("sold out", { errorCode: 410 }) : undefined;
            },
          },
          async (ctx) => {
            const stepped = await settle(ctx.run("buy", failing(ctx, Infinity, () => new OutOfStock())));
            mark(ctx, `step ${stepped.error}`);
            throw new OutOfStock();
          },
        ),
        timesOut: async (ctx) => {
          const closure = async () => {
            mark(ctx, "closure begins");
            await pause(600);
            mark(ctx, "closure ends");
          };
          const outcome = await settle(ctx.run("slow", closure).orTimeout(100));
          mark(ctx, "timed out");
          return outcome;
        },
        // fails between two steps: the first one is not done again, and time and chance stay what they were
        replayed: async (ctx) => {
          const attempt = countAttempt(ctx);
          const chance = [ctx.rand.random(), ctx.rand.random(), ctx.rand.uuidv4()];
          const stepped = await ctx.run("step", () => `by attempt ${attempt}`);
          const now = await ctx.date.now();
          const text = await ctx.date.toJSON();
          const seen = JSON.stringify({ chance, stepped, now, text });
          mark(ctx, seen);
          if (attempt < 3) throw new Error("again");
          return JSON.parse(seen);
        },
      },
      options: { retryPolicy: { initialInterval: 20, maxInterval: 50 } },
    }),
  ];
}
