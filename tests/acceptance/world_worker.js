// What the stories of tests/acceptance/world.py deploy: a bundle whose services have the shape that its variables give,
// and whose handlers bring their invocation into a state that it keeps until the build's gate is opened.
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";

const hour = { hours: 1 };
const seldom = { retryPolicy: { initialInterval: hour, maxInterval: hour } };
const pausing = { retryPolicy: { initialInterval: 50, maxInterval: 50, maxAttempts: 2, onMaxAttempts: "pause" } };
const soonSuspended = { inactivityTimeout: 50 };

let open = false; // the gate of this build
const atGate = async () => {
  while (!open) await new Promise((resolve) => setTimeout(resolve, 20));
};
const whileShut = () => {
  if (!open) throw new Error("the gate is shut");
};

/** What a handler of each name does, and its options. They answer the versions that the first and last step met. */
const behaviours = (version) => {
  const begin = (ctx) => ctx.run("begin", () => version);
  const end = (ctx) => ctx.run("end", () => version);
  const first = async (ctx, wait) => {
    await wait();
    return { ended: await end(ctx) };
  };
  const stepped = async (ctx, wait) => {
    const begun = await begin(ctx);
    await wait();
    return { begun, ended: await end(ctx) };
  };
  return {
    version: [async () => version],
    runs: [(ctx) => first(ctx, atGate)],
    runsAfterAStep: [(ctx) => stepped(ctx, atGate)],
    sleeps: [(ctx) => stepped(ctx, () => ctx.sleep(hour))],
    isSuspended: [(ctx) => stepped(ctx, () => ctx.sleep(hour)), soonSuspended],
    fails: [(ctx) => first(ctx, whileShut)],
    failsAfterAStep: [(ctx) => stepped(ctx, () => ctx.run("try", whileShut))],
    failsSeldom: [(ctx) => first(ctx, whileShut), seldom],
    failsSeldomAfterAStep: [(ctx) => stepped(ctx, () => ctx.run("try", whileShut)), seldom],
    isPaused: [(ctx) => first(ctx, whileShut), pausing],
    isPausedAfterAStep: [(ctx) => stepped(ctx, () => ctx.run("try", whileShut)), pausing],
  };
};

const makers = {
  Service: { make: restate.service, handler: restate.handlers.handler },
  VirtualObject: { make: restate.object, handler: restate.handlers.object.exclusive },
  Workflow: { make: restate.workflow, handler: restate.handlers.workflow.workflow },
};

/** `shape` is `{ type, handlers }` with the handlers' names; `:shared` behind one says so. */
function makeService(name, { type, handlers }, version) {
  const known = behaviours(version);
  const made = handlers.map((described) => {
    const [handler, shared] = described.split(":");
    const [act, options = {}] = known[handler] ?? known.version;
    const make = shared ? restate.handlers.object.shared : makers[type].handler;
    return [handler, make(options, act)];
  });
  return makers[type].make({ name, handlers: Object.fromEntries(made) });
}

let endpoint; // of this build
function makeEndpoint({ VERSION, SERVICES }) {
  const services = Object.entries(SERVICES).map(([name, shape]) => makeService(name, shape, VERSION));
  return restate.createEndpointHandler({ services, bidirectional: true });
}

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname.endsWith("/-/open")) {
      open = true;
      return new Response(null, { status: 204 });
    }
    endpoint ??= makeEndpoint(env);
    return endpoint(request, env, ctx);
  },
};
