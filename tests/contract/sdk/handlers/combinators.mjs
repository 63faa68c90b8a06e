import { countAttempt, mark } from "./marks.mjs";

export function combinators(restate, named) {
  const { RestatePromise, TerminalError } = restate;
  const never = (ctx) => ctx.awakeable().promise;
  const fast = (ctx, value) => ctx.run("fast", () => value);
  const slow = (ctx, value) => ctx.sleep(50).map(() => value);
  const refusal = (ctx, message) => ctx.run("refuse", () => { throw new TerminalError(message, { errorCode: 418 }); });
  const describe = (error) => [error.name, error.code ?? null, error.message];
  const settle = (promise) => promise.then((value) => ({ value }), (error) => ({ error: describe(error) }));
  const callee = (ctx) => ctx.serviceClient({ name: named("Payloads") });
  return [
    restate.service({
      name: named("Combinators"),
      handlers: {
        all: async (ctx) => RestatePromise.all([slow(ctx, "slow"), fast(ctx, "fast"), callee(ctx).echo("called")]),
        allOfNone: async () => RestatePromise.all([]),
        allWithFailure: async (ctx) => settle(RestatePromise.all([never(ctx), refusal(ctx, "no tea")])),
        race: async (ctx) => RestatePromise.race([never(ctx), slow(ctx, "slow"), ctx.sleep(60_000)]),
        raceWithFailure: async (ctx) => settle(RestatePromise.race([never(ctx), refusal(ctx, "no tea")])),
        any: async (ctx) => RestatePromise.any([refusal(ctx, "no tea"), slow(ctx, "slow"), never(ctx)]),
        anyOfFailures: async (ctx) => {
          try {
            return await RestatePromise.any([refusal(ctx, "no tea"), refusal(ctx, "no coffee")]);
          } catch (error) {
            return [error.name, error.errors.map(describe)];
          }
        },
        allSettled: async (ctx) => {
          const settled = await RestatePromise.allSettled([fast(ctx, 1), refusal(ctx, "no tea"), slow(ctx, 3)]);
          return settled.map(({ status, value, reason }) => [status, value ?? describe(reason)]);
        },
        nested: async (ctx) => {
          const inner = RestatePromise.race([slow(ctx, "slow"), never(ctx)]);
          return RestatePromise.all([inner, RestatePromise.any([fast(ctx, "fast"), never(ctx)])]);
        },
        constants: async () => {
          const mapped = RestatePromise.resolve(1).map((value) => value + 1);
          return [await mapped, await settle(RestatePromise.reject(new TerminalError("no", { errorCode: 400 })))];
        },
        map: async (ctx) => {
          const value = fast(ctx, 20).map((number) => number + 1).map((number) => 2 * number);
          const mended = refusal(ctx, "no tea").map((_, failure) => `mended: ${failure.message}`);
          const broken = fast(ctx, 1).map(() => { throw new TerminalError("broken", { errorCode: 400 }); });
          return [await value, await mended, await settle(broken)];
        },
        orTimeout: async (ctx) => {
          const late = never(ctx).orTimeout(50);
          const inTime = fast(ctx, "in time").orTimeout({ seconds: 60 });
          return [await settle(late), await settle(inTime)];
        },
        // is suspended after the race: the replay must give the same winner, although both are there then
        replayedRace: restate.handlers.handler({ inactivityTimeout: 50 }, async (ctx) => {
          mark(ctx, `attempt ${countAttempt(ctx)}`);
          const first = ctx.sleep(100).map(() => "first");
          const second = ctx.sleep(400).map(() => "second");
          const winner = await RestatePromise.race([second, first]);
          await ctx.sleep(1000);
          return [winner, await RestatePromise.race([second, never(ctx)])];
        }),
        sleep: async (ctx, millis) => {
          const before = await ctx.date.now();
          await ctx.sleep({ milliseconds: millis }, "a named sleep");
          return (await ctx.date.now()) - before;
        },
      },
    }),
  ];
}
