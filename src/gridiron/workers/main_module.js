// What every build gets beside its own modules: a main module around the bundle's, and two that are evaluated before
// the bundle.
import { OUR_READER, renderLog } from "./build_log.js";

export const OUR_ENTRYPOINT = "__Gridiron";
export const OUR_EVICTOR = "__GridironEvictor";
// They tell who has gone, are for `work`, and let a bundle of any date have `Steps`.
const OUR_FLAGS = ["enable_request_signal", "nodejs_als", "streams_enable_constructors"];
const OPPOSITE_FLAGS = ["disable_request_signal", "no_nodejs_als", "streams_disable_constructors"];

// It is evaluated before the bundle, which finds it frozen: no build can keep itself from being evicted. The isolate
// goes a turn of the event loop later: one that goes at once leaves 0.3 MB of its last requests behind, for ever.
const EVICTOR = `
  import { WorkerEntrypoint, abortIsolate } from "cloudflare:workers";
  const { Promise, setTimeout } = globalThis;
  export class ${OUR_EVICTOR} extends WorkerEntrypoint {
    evict() { return new Promise(() => setTimeout(() => abortIsolate("evicted"), 0)); }
  }
  Object.freeze(${OUR_EVICTOR}.prototype);
  Object.freeze(${OUR_EVICTOR});`;

// Restate's SDK sends a step's command when the step begins and its result when that is there, which for most steps is
// within the same millisecond. Each is a frame and a wake-up for Restate, and often a commit. So a chunk that ends with
// a step's command waits for the next one, but not for long: what a long step does is to be seen. One timer serves all
// steps of its time: one for each took a few hundredths of the throughput.
// A message has eight bytes before it: type, flags (16 bits each) and length (32), most significant first.
const JOIN_STEPS = `
    const RUN_COMMAND = 0x0411;
    const HOLD_MILLISECONDS = 20; // at most
    function lookInto(chunk, call) { // give the type of its last message
      if (!(chunk instanceof Uint8Array)) return null;
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      let type = null;
      for (let at = 0, end; at + 8 <= chunk.length; at = end) {
        type = view.getUint16(at);
        end = at + 8 + view.getUint32(at + 4);
        if (type === OUTPUT || type === SUSPENSION || type === ERROR) note(call, type, chunk.subarray(at + 8, end));
      }
      return type;
    }
    function joined(first, second) {
      const both = new Uint8Array(first.length + second.length);
      both.set(first);
      both.set(second, first.length);
      return both;
    }
    function joinSteps(response, call) {
      const type = response?.headers?.get("content-type") ?? "";
      if (!type.startsWith("application/vnd.restate.invocation") || response.body === null) {
        if (call.handler !== null) addOutcome(call, response?.status < 500 ? "ok" : "failed", "HTTP " + response?.status);
        return response;
      }
      const steps = new Steps(response.body.getReader(), call);
      return new Response(new ReadableStream(steps, { highWaterMark: 0 }), response);
    }
    class Steps {
      constructor(reader, call) {
        this.reader = reader;
        this.call = call;
        this.held = null; // a chunk that ends with a command
        this.timer = null;
      }
      async pull(controller) {
        try {
          for (;;) {
            let { done, value } = await this.reader.read();
            if (this.held !== null && value instanceof Uint8Array) {
              value = joined(this.held, value);
              this.held = null;
            }
            this.release(controller);
            if (done) break;
            if (lookInto(value, this.call) !== RUN_COMMAND) return controller.enqueue(value);
            this.hold(value, controller);
          }
        } catch (error) {
          this.forget();
          fail(this.call, error);
          throw error;
        }
        this.forget();
        conclude(this.call, "retrying", "it ended without an answer");
        controller.close();
      }
      cancel(reason) { // its client has gone
        this.forget();
        conclude(this.call, "cancelled");
        return this.reader.cancel(reason);
      }
      hold(chunk, controller) {
        this.held = chunk;
        this.timer ??= setTimeout(() => {
          this.timer = null;
          this.release(controller);
        }, HOLD_MILLISECONDS);
      }
      release(controller) {
        if (this.held !== null) controller.enqueue(this.held);
        this.held = null;
      }
      forget() {
        clearTimeout(this.timer);
        this.held = null;
      }
    }`;

// How a call ended is in what it sent last. A message's body is Protocol Buffers: fields with a number, 14 and 15 of an
// output for its value and its failure, 2 of a failure and of an error for the text.
const TELL_OUTCOMES = String.raw`
    const SUSPENSION = 0x0001;
    const ERROR = 0x0002;
    const OUTPUT = 0x0401;
    const decoder = new TextDecoder();
    function begin(request, resolve) {
      const invocation = request.headers.get("x-restate-invocation-id") ?? undefined;
      return { invocation, handler: handlerOf(request), startedAt: now(), outcome: null, resolve };
    }
    function handlerOf(request) { // "Service/handler", or of a request that is no invocation "GET /path"
      const { url, method } = request;
      let slash = 7; // behind "http:/", and at the first slash of the path after one step
      for (let step = 0; step < 3 && slash >= 0; step++) slash = url.indexOf("/", slash + 1);
      const path = slash < 0 ? "/" : url.slice(slash).split("?", 1)[0];
      if (path.startsWith("/invoke/")) return path.slice("/invoke/".length);
      return path === "/discover" ? null : method + " " + path;
    }
    function note(call, type, body) {
      if (type === SUSPENSION) call.outcome = ["suspended"];
      else if (type === ERROR) call.outcome = ["retrying", textOf(body)];
      else {
        const failure = fieldOf(body, 15);
        call.outcome = failure === null ? ["ok"] : ["failed", textOf(failure)];
      }
    }
    const textOf = (failure) => decoder.decode(fieldOf(failure, 2) ?? new Uint8Array());
    function fieldOf(body, wanted) {
      for (let at = 0; at < body.length; ) {
        const [tag, start] = varint(body, at);
        const [value, next] = varint(body, start);
        if ((tag & 7) > 2 || (tag & 7) === 1) return null; // of fixed length: these messages have none
        const end = (tag & 7) === 2 ? next + value : next;
        if (tag >> 3 === wanted && (tag & 7) === 2) return body.subarray(next, end);
        at = end;
      }
      return null;
    }
    function varint(body, at) {
      let value = 0;
      for (let factor = 1; ; factor *= 128) {
        const byte = body[at++] ?? 0;
        value += (byte & 127) * factor;
        if (byte < 128) return [value, at];
      }
    }
    function conclude(call, ...otherwise) { // once: what comes to its end may be let go of besides
      if (call.concluded || call.handler === null) return;
      call.concluded = true;
      addOutcome(call, ...(call.outcome ?? otherwise));
    }
    function fail(call, error) {
      addException(error, call);
      conclude(call, "exception", String(error));
    }`;

/** A bundle's own flags and those that our main module needs; workerd takes none twice, or beside its opposite. */
export function completeFlags(flags) {
  const kept = flags.filter((flag) => !OPPOSITE_FLAGS.includes(flag));
  return [...new Set([...kept, ...OUR_FLAGS])];
}

/**
 * Add our modules to a bundle's, around the one that is its main; give the name of the new main module. `logId` names
 * what this isolate of the build will print, apart from all that other isolates do.
 */
export function addMainModule(modules, main, logId) {
  const evictor = addModule(modules, "__gridiron-evictor.js", EVICTOR);
  const log = addModule(modules, "__gridiron-log.js", renderLog(logId, Date.now()));
  return addModule(modules, "__gridiron.js", renderMain(main, evictor, log));
}

/** Add a module of ours under a name that the bundle leaves free, and give that. */
function addModule(modules, name, js) {
  while (name in modules) name = `_${name}`;
  modules[name] = { js };
  return name;
}

/**
 * The main module that every build gets: the bundle's own exports, and two entrypoints for the router. As under
 * Node.js, what a request began goes on to its end although the request has ended or its client has gone: a
 * promise holds it that nothing resolves. workerd lets go of it when that promise is garbage; so what could
 * resolve it lies in the asynchronous context, which every timer and every awaited promise of the request keeps.
 */
function renderMain(main, evictor, log) {
  const bundle = JSON.stringify(`./${main}`);
  return `
    export { ${OUR_EVICTOR} } from "./${evictor}";
    export { ${OUR_READER} } from "./${log}";
    import { addException, addOutcome, now, tellOfWork, work } from "./${log}";
    import { WorkerEntrypoint } from "cloudflare:workers";
    import main from ${bundle};
    export * from ${bundle};
    export { default } from ${bundle};
    const Main = typeof main === "function" ? main : class extends WorkerEntrypoint {
      fetch(request) { return main.fetch(request, this.env, this.ctx); }
    };
    ${TELL_OUTCOMES}
    ${JOIN_STEPS}
    export class ${OUR_ENTRYPOINT} extends Main {
      fetch(request) {
        const { promise, resolve } = Promise.withResolvers();
        this.ctx.waitUntil(promise);
        tellOfWork(this.ctx);
        const call = begin(request, resolve);
        return work.run(call, async () => {
          try {
            return joinSteps(await super.fetch(request), call);
          } catch (error) {
            fail(call, error);
            throw error;
          }
        });
      }
      ready() {}
    }`;
}
