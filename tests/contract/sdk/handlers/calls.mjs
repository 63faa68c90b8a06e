import { mark } from "./marks.mjs";

const counts = new Map();

export function calls(restate, named) {
  const { rpc, serde, TerminalError } = restate;
  const callee = { name: named("Callee") };
  const counter = { name: named("Counter") };
  const describe = (error) => [error.name, error instanceof TerminalError, error.code, error.message, error.metadata];
  return [
    restate.service({
      name: named("Callee"),
      handlers: {
        greet: async (ctx, name) => {
          mark(ctx, `greets ${name}`);
          return `Hello ${name}`;
        },
        header: async (ctx) => ctx.request().headers.get("x-test") ?? null,
        count: async (_, key) => {
          counts.set(key, (counts.get(key) ?? 0) + 1);
          return counts.get(key);
        },
        refuse: async () => {
          throw new TerminalError("no tea", { errorCode: 418, metadata: { pot: "empty" } });
        },
        bytes: restate.handlers.handler({ input: serde.binary, output: serde.binary }, async (_, bytes) => bytes),
        wait: async (ctx) => {
          mark(ctx, "waits");
          try {
            return await ctx.awakeable().promise;
          } finally {
            mark(ctx, "ends");
          }
        },
      },
    }),
    restate.service({
      name: named("Caller"),
      handlers: {
        call: async (ctx, name) => ctx.serviceClient(callee).greet(name),
        callObject: async (ctx, key) => {
          const object = ctx.objectClient(counter, key);
          return [await object.add(2), await object.add(3), await object.get("sum")];
        },
        options: async (ctx) => {
          const client = ctx.serviceClient(callee);
          return [
            await client.header(rpc.opts({ headers: { "x-test": "from the caller" }, name: "a named call" })),
            await client.greet("Ada", rpc.opts({ output: serde.binary })).then((bytes) => bytes.length),
          ];
        },
        generic: async (ctx) => {
          const parameter = new Uint8Array([1, 2, 3]);
          const bytes = await ctx.genericCall({ service: callee.name, method: "bytes", parameter });
          const call = { service: counter.name, method: "own", key: "generic", inputSerde: serde.json, outputSerde: serde.json };
          return [[...bytes], await ctx.genericCall(call)];
        },
        genericSend: async (ctx) => {
          const send = { service: callee.name, method: "greet", parameter: "generic", inputSerde: serde.json };
          return ctx.genericSend(send).invocationId;
        },
        failed: async (ctx) => {
          try {
            return await ctx.serviceClient(callee).refuse();
          } catch (error) {
            return describe(error);
          }
        },
        passedOn: async (ctx) => ctx.serviceClient(callee).refuse(),
        send: async (ctx, name) => ctx.serviceSendClient(callee).greet(name).invocationId,
        sendObject: async (ctx, key) => ctx.objectSendClient(counter, key).add(7).invocationId,
        sendLater: async (ctx, millis) => {
          const options = rpc.sendOpts({ delay: { milliseconds: millis } });
          return ctx.serviceSendClient(callee).greet("later", options).invocationId;
        },
        once: async (ctx, key) => {
          const options = () => rpc.sendOpts({ idempotencyKey: key });
          const client = ctx.serviceSendClient(callee);
          return [await client.greet("once", options()).invocationId, await client.greet("once", options()).invocationId];
        },
        attach: async (ctx, id) => [await ctx.attach(id), await ctx.invocation(id).attach()],
        callAndAttach: async (ctx) => {
          const running = ctx.serviceClient(callee).greet("Ada");
          const id = await running.invocationId;
          return [id, await running];
        },
        cancel: async (ctx, id) => ctx.cancel(id),
        callOnce: async (ctx, key) => {
          const client = ctx.serviceClient(callee);
          return [await client.count(key, rpc.opts({ idempotencyKey: key })), await client.count(key, rpc.opts({ idempotencyKey: key }))];
        },
        cancelByReference: async (ctx, id) => ctx.invocation(id).cancel(),
      },
    }),
  ];
}
