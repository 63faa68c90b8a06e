// A real Restate endpoint for the contract tests: what it serves at a path, and how its handlers behave, is
// told to it over HTTP. Prints one line of JSON with its two ports when it listens; they are free ones unless they
// are given as arguments.
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { registerHooks } from "node:module";

// the SDK for workers imports its Wasm as workerd gives it: as a compiled module
registerHooks({
  load(url, context, next) {
    if (!url.endsWith(".wasm")) return next(url, context);
    const source = `import { readFileSync } from "node:fs";
      export default new WebAssembly.Module(readFileSync(new URL(${JSON.stringify(url)})));`;
    return { format: "module", source, shortCircuit: true };
  },
});
const sdk = await import("@restatedev/restate-sdk-cloudflare-workers");
const silent = () => {};

const forever = () => new Promise(() => {});
const hour = { hours: 1 };
const pausing = {
  retryPolicy: { initialInterval: 50, maxInterval: 50, maxAttempts: 2, onMaxAttempts: "pause" },
};
const soonSuspended = { inactivityTimeout: 50 };

/** What a handler of each name does, and its options. */
const BEHAVIOURS = {
  answer: [async (_, argument) => argument ?? "done"],
  run: [forever],
  pin: [(ctx) => ctx.run("step", () => 1).then(forever)],
  sleep: [(ctx) => ctx.sleep(hour)],
  suspend: [(ctx) => ctx.sleep(hour), soonSuspended],
  wait: [(ctx) => ctx.awakeable().promise, soonSuspended],
  fail: [async () => { throw new Error("not yet"); }],
  pinThenFail: [(ctx) => ctx.run("step", () => 1).then(() => { throw new Error("not yet"); })],
  failThenPause: [async () => { throw new Error("not yet"); }, pausing],
  pinThenPause: [(ctx) => ctx.run("step", () => 1).then(() => { throw new Error("not yet"); }), pausing],
  refuse: [async () => { throw new sdk.TerminalError("no such thing", { errorCode: 418 }); }],
};

function handlerOf({ name, type }) {
  const [act, options = {}] = BEHAVIOURS[name] ?? BEHAVIOURS.answer;
  if (type === "Shared") return sdk.handlers.object.shared(options, act);
  if (type === "Exclusive") return sdk.handlers.object.exclusive(options, act);
  if (type === "Workflow") return sdk.handlers.workflow.workflow(options, act);
  return sdk.handlers.handler(options, act);
}

function serviceOf({ name, type, handlers }) {
  const make = { Service: sdk.service, VirtualObject: sdk.object, Workflow: sdk.workflow }[type];
  return make({ name, handlers: Object.fromEntries(handlers.map((one) => [one.name, handlerOf(one)])) });
}

const endpoints = new Map(); // path -> a handler of requests

function serve({ path, services, protocol, refusal }) {
  if (refusal) {
    const { status, type, body } = refusal;
    endpoints.set(path, (_, response) => response.writeHead(status, { "content-type": type }).end(body));
    return;
  }
  const bidirectional = protocol === "BidiStream";
  const made = { services: services.map(serviceOf), bidirectional, logger: silent };
  endpoints.set(path, sdk.createEndpointHandler(made));
}

const data = http2.createServer((request, response) => {
  const path = request.url.split("/").slice(0, 3).join("/");
  const endpoint = endpoints.get(path);
  if (endpoint) endpoint(request, response);
  else response.writeHead(404, { "content-type": "application/json" }).end('{"code":"build_not_found"}');
});

const control = http.createServer(async (request, response) => {
  const chunks = await request.toArray();
  serve(JSON.parse(Buffer.concat(chunks).toString()));
  response.writeHead(204).end();
});

const ports = process.argv.slice(2).map(Number);
for (const [index, server] of [data, control].entries()) {
  await once(server.listen(ports[index] ?? 0, "127.0.0.1"), "listening");
}
console.log(JSON.stringify({ data: data.address().port, control: control.address().port }));
