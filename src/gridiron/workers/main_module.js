// What every build gets beside its own modules: a main module around the bundle's, and one that is evaluated before
// the bundle.
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
    function endsWithCommand(chunk) {
      if (!(chunk instanceof Uint8Array)) return false;
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      let type = null;
      for (let at = 0; at + 8 <= chunk.length; at += 8 + view.getUint32(at + 4)) type = view.getUint16(at);
      return type === RUN_COMMAND;
    }
    function joined(first, second) {
      const both = new Uint8Array(first.length + second.length);
      both.set(first);
      both.set(second, first.length);
      return both;
    }
    function joinSteps(response) {
      const type = response?.headers?.get("content-type") ?? "";
      if (!type.startsWith("application/vnd.restate.invocation") || response.body === null) return response;
      return new Response(new ReadableStream(new Steps(response.body.getReader()), { highWaterMark: 0 }), response);
    }
    class Steps {
      constructor(reader) {
        this.reader = reader;
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
            if (!endsWithCommand(value)) return controller.enqueue(value);
            this.hold(value, controller);
          }
        } catch (error) {
          this.forget();
          throw error;
        }
        this.forget();
        controller.close();
      }
      cancel(reason) { // its client has gone
        this.forget();
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

/** A bundle's own flags and those that our main module needs; workerd takes none twice, or beside its opposite. */
export function completeFlags(flags) {
  const kept = flags.filter((flag) => !OPPOSITE_FLAGS.includes(flag));
  return [...new Set([...kept, ...OUR_FLAGS])];
}

/** Add our modules to a bundle's, around the one that is its main; give the name of the new main module. */
export function addMainModule(modules, main) {
  const evictor = addModule(modules, "__gridiron-evictor.js", EVICTOR);
  return addModule(modules, "__gridiron.js", renderMain(main, evictor));
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
function renderMain(main, evictor) {
  const bundle = JSON.stringify(`./${main}`);
  return `
    export { ${OUR_EVICTOR} } from "./${evictor}";
    import { AsyncLocalStorage } from "node:async_hooks";
    import { WorkerEntrypoint } from "cloudflare:workers";
    import main from ${bundle};
    export * from ${bundle};
    export { default } from ${bundle};
    const Main = typeof main === "function" ? main : class extends WorkerEntrypoint {
      fetch(request) { return main.fetch(request, this.env, this.ctx); }
    };
    const work = new AsyncLocalStorage();
    ${JOIN_STEPS}
    export class ${OUR_ENTRYPOINT} extends Main {
      fetch(request) {
        const { promise, resolve } = Promise.withResolvers();
        this.ctx.waitUntil(promise);
        return work.run(resolve, async () => joinSteps(await super.fetch(request)));
      }
      ready() {}
    }`;
}
