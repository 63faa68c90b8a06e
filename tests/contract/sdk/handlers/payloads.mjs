const MEBIBYTE = 1024 * 1024;

export function payloads(restate, named) {
  const { handler } = restate.handlers;
  const rows = {
    contentType: "text/csv",
    serialize: (value) => new TextEncoder().encode(value.map((row) => row.join(",")).join("\n")),
    deserialize: (bytes) => new TextDecoder().decode(bytes).split("\n").map((row) => row.split(",")),
  };
  const positive = restate.serde.schema({
    "~standard": {
      version: 1,
      vendor: "the test",
      validate: (value) => (value > 0 ? { value } : { issues: [{ message: "not positive" }] }),
    },
  });
  const { binary, empty } = restate.serde;
  return [
    restate.service({
      name: named("Payloads"),
      handlers: {
        echo: async (_, argument) => argument,
        typeOf: async (_, argument) => (argument === null ? "null" : typeof argument),
        nothing: async () => {},
        reverse: handler({ input: binary, output: binary }, async (_, bytes) => bytes.toReversed()),
        noBytes: handler({ input: empty, output: binary }, async () => new Uint8Array()),
        noBytesOfAType: handler({ output: binary, setOutputContentTypeIfEmpty: true }, async () => new Uint8Array()),
        transpose: handler({ input: rows, output: rows }, async (_, table) => {
          return table[0].map((_, column) => table.map((row) => row[column]));
        }),
        double: handler({ input: positive, output: positive }, async (_, number) => 2 * number),
        accepts: handler({ accept: "text/plain", input: binary }, async (_, bytes) => bytes.length),
        // through every way that a value can take: a step, an awakeable, a call, the answer
        large: async (ctx, mebibytes) => {
          const stepped = await ctx.run("make", () => "x".repeat(mebibytes * MEBIBYTE));
          const { id, promise } = ctx.awakeable();
          ctx.resolveAwakeable(id, stepped);
          return ctx.serviceClient({ name: named("Payloads") }).echo(await promise);
        },
        request: async (ctx) => {
          const { target, id, headers, attemptHeaders, body } = ctx.request();
          return {
            target: `${target}`,
            service: target.service,
            handler: target.handler,
            key: target.key ?? null,
            id,
            header: headers.get("x-test") ?? null,
            protocol: attemptHeaders.get("content-type").split(";")[0],
            bytes: body.length,
          };
        },
      },
    }),
  ];
}
