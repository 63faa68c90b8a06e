import { countAttempt, currentAttempt, mark } from "./marks.mjs";

export function hooks(restate, named) {
  const { handler } = restate.handlers;
  const { TerminalError } = restate;
  /** Hooks that tell what they surround. */
  const telling = (name) => ({ request }) => {
    const ctx = { request: () => request };
    const around = async (what, next) => {
      mark(ctx, `${name} before ${what}`);
      await next();
      mark(ctx, `${name} after ${what}`);
    };
    return { interceptor: { handler: (next) => around(request.target.handler, next), run: around } };
  };
  const counting = ({ request }) => {
    mark({ request: () => request }, `attempt ${countAttempt({ request: () => request })}`);
    return {};
  };
  const only = (interceptor) => ({ hooks: [() => ({ interceptor })] });
  return [
    restate.service({
      name: named("Hooks"),
      handlers: {
        nested: handler({ hooks: [telling("third")] }, async (ctx) => {
          mark(ctx, "handler");
          return ctx.run("step", () => mark(ctx, "step"));
        }),
        retried: async (ctx) => {
          await ctx.run("step", () => mark(ctx, "step"));
          if (currentAttempt(ctx) < 2) throw new Error("again");
        },
        refusedBefore: handler(only({ handler: async () => { throw new TerminalError("closed", { errorCode: 403 }); } }),
          async (ctx) => mark(ctx, "handler")),
        refusedAfter: handler(only({ handler: async (next) => {
          await next();
          throw new TerminalError("too late", { errorCode: 410 });
        } }), async (ctx) => mark(ctx, "handler")),
        mended: handler(only({ handler: (next) => next().catch((error) => {
          throw new TerminalError(`instead of ${error.message}`, { errorCode: 418 });
        }) }), async () => { throw new Error("a retry"); }),
        stepRefused: handler(only({ run: async (name) => { throw new TerminalError(`no ${name}`, { errorCode: 403 }); } }),
          async (ctx) => ctx.run("step", () => mark(ctx, "step"))),
      },
      options: { hooks: [counting, telling("first"), telling("second")], retryPolicy: { initialInterval: 20 } },
    }),
  ];
}
