// The router worker, one in each cell: it sends /{name}/{version}-{timestamp}/… to the dynamic worker of
// that build, loads the build on its first request, counts what is in flight, and evicts a build on demand.
//
// Three properties of workerd shape this file:
// - A load that failed is remembered under its loader name for as long as the process lives. A script error
//   may stay so, since a build never changes; a file that could not be read must not. So a build whose code
//   was never handed over gets a new loader name for its next request.
// - What one request awaits, another may not. `builds` therefore holds plain values, and requests that come
//   while a build loads meet in the loader, which is made for it.
// - A request whose client has gone is cancelled, unless `waitUntil` holds it.
import { env } from "cloudflare:workers";

const HEALTH = "-/health";
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const VERSION_AND_TIMESTAMP = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}-(0|[1-9][0-9]*)$/;
const OUR_ENTRYPOINT = "__Gridiron";
const OUR_FLAGS = ["enable_request_signal", "nodejs_als"]; // of our main module; the first tells who has gone
const OPPOSITE_FLAGS = ["disable_request_signal", "no_nodejs_als"];
const OUR_EVICTOR = "__GridironEvictor";

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
// within the same millisecond. Each is a frame and a wake-up for Restate, and often a commit. So a chunk
// that ends with a step's command waits for the next one, but not for long: what a long step does is to be seen.
// A message has eight bytes before it: type, flags (16 bits each) and length (32), most significant first.
const JOIN_STEPS = `
    const RUN_COMMAND = 0x0411;
    const HOLD_MILLISECONDS = 2;
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
      const { readable, writable } = new TransformStream(); // as Restate's SDK makes one; a bundle's date may know no other
      pumpSteps(response.body.getReader(), writable.getWriter());
      return new Response(readable, response);
    }
    async function pumpSteps(reader, writer) {
      writer.closed.catch((reason) => reader.cancel(reason)).catch(() => {}); // its client has gone
      try {
        let next = null; // a read that has begun
        for (;;) {
          let { done, value } = await (next ?? reader.read());
          next = null;
          if (done) return await writer.close();
          if (endsWithCommand(value)) {
            next = reader.read();
            const late = Promise.withResolvers();
            const timer = setTimeout(late.resolve, HOLD_MILLISECONDS);
            const more = await Promise.race([next, late.promise]);
            clearTimeout(timer);
            if (more?.value instanceof Uint8Array) {
              next = null;
              value = joined(value, more.value);
            }
          }
          await writer.write(value);
        }
      } catch (error) {
        await writer.abort(error).catch(() => {}); // it may have ended by itself
      }
    }`;

// The cores of Restate's SDK that this cell carries, compiled once: sha256 -> WebAssembly.Module.
const cores = new Map();
for (const sha256 of env.SDK_CORES) {
  cores.set(sha256, (await import(`./${sha256}.wasm`)).default);
}

// "name/version-timestamp" -> Build: those that have loaded, are loading, or failed to.
const builds = new Map();
let attempts = 0;
let evictions = 0;

class Build {
  constructor(key) {
    this.key = key;
    this.loaderName = `${key}#${++attempts}`;
    this.ready = false; // it has loaded
    this.handedOver = false; // the loader has its code: what fails from here on is the script's fault
    this.problem = null; // why its code could not be handed over
    this.inFlight = 0; // requests whose answers have not ended
    this.answered = 0; // invocations whose answers have
    this.usedAt = Date.now(); // when the last request came
  }
}

/** Why a request gets no answer from a build; its `body` is a problem of RFC 9457. */
class Problem extends Error {
  constructor(status, code, title, detail) {
    super(detail);
    this.body = { type: "about:blank", title, status, code, detail };
  }

  toResponse() {
    const headers = { "content-type": "application/problem+json" };
    return Response.json(this.body, { status: this.body.status, headers });
  }
}

const notFound = (detail) => new Problem(404, "build_not_found", "No such build", detail);
const unreadable = (detail) => new Problem(503, "bundle_unreadable", "The bundle cannot be read", detail);
const scriptFailed = (detail) => new Problem(502, "script_failed", "The bundle does not load", detail);

export default {
  async fetch(request, _env, ctx) {
    const key = parseKey(request.url);
    let build = builds.get(key);
    if (build === undefined || !build.ready) {
      if (key === HEALTH) return Response.json({ status: "ok" });
      const loading = load(key);
      ctx.waitUntil(loading.then(ignore, ignore)); // others may wait for it, even when this client does not
      try {
        build = await loading;
      } catch (problem) {
        return problem.toResponse();
      }
    }
    build.usedAt = Date.now();
    return forward(request, build, ctx);
  },
};

export const control = {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method === "GET" && pathname === "/health") return Response.json({ status: "ok" });
    if (request.method === "GET" && pathname === "/builds") return Response.json({ builds: listLoaded(), evictions });
    if (request.method === "DELETE" && pathname.startsWith("/builds/")) {
      const key = pathname.slice("/builds/".length);
      const spared = searchParams.has("idle") && builds.get(key)?.inFlight > 0;
      return Response.json({ unloaded: !spared && (await evict(key)) });
    }
    return new Problem(404, "not_found", "Nothing here", `${request.method} ${pathname}`).toResponse();
  },
};

function ignore() {}

/** Take "name/version-timestamp" out of a request's URL, without the cost of a URL object. */
function parseKey(url) {
  const start = url.indexOf("/", 8) + 1; // 8 is behind "http://" and at least one letter of the host
  const middle = url.indexOf("/", start);
  if (middle < 0) return "";
  const slash = url.indexOf("/", middle + 1);
  const key = slash < 0 ? url.slice(start) : url.slice(start, slash);
  const query = key.indexOf("?");
  return query < 0 ? key : key.slice(0, query);
}

/** Answer a request with the build's answer, and count it until that has ended or its client has gone. */
async function forward(request, build, ctx) {
  const end = count(build, request, ctx);
  let response;
  try {
    response = await getEntrypoint(build, OUR_ENTRYPOINT).fetch(request);
  } catch (error) {
    end();
    if (!build.handedOver) build.ready = false;
    if (build.problem === null) throw error; // the handler threw
    return build.problem.toResponse(); // workerd had dropped the build, and its code could not be read again
  }
  build.ready = true; // again, where workerd had dropped it
  if (response.body === null) {
    end();
    return response;
  }
  const { readable, writable } = new IdentityTransformStream();
  response.body.pipeTo(writable).then(end, end);
  return new Response(readable, response);
}

/** Count a request as in flight; the function given back ends that, and so does the client by going away. */
function count(build, request, ctx) {
  const { promise, resolve } = Promise.withResolvers();
  let open = true;
  const end = () => {
    if (open) {
      build.inFlight--;
      if (request.method === "POST") build.answered++;
    }
    open = false;
    resolve();
  };
  build.inFlight++;
  request.signal.addEventListener("abort", end);
  ctx.waitUntil(promise); // without it, nobody would be left to see that the client has gone
  return end;
}

/** An entrypoint of a build. workerd asks for the code where it has not got it (any more). */
function getEntrypoint(build, name) {
  return env.LOADER.get(build.loaderName, () => handOver(build)).getEntrypoint(name);
}

/** Load a build, or throw the Problem that keeps it from loading. */
async function load(key) {
  const build = findUsable(key) ?? (await startBuild(key));
  try {
    await getEntrypoint(build, OUR_ENTRYPOINT).ready();
  } catch (error) {
    if (!build.handedOver) build.problem ??= unreadable(`Reading it was cut short: ${describe(error)}`);
    throw build.problem ?? scriptFailed(describe(error));
  }
  build.ready = true;
  return builds.get(key) === build ? build : load(key); // it may have been evicted meanwhile
}

/** The build as it is remembered, unless its code could not be read the last time. */
function findUsable(key) {
  const build = builds.get(key);
  return build?.problem && build.problem.body.code !== "script_failed" ? undefined : build;
}

/**
 * Remember a build that is to be loaded, once all of it is there. The loader never forgets a name whose load
 * failed, so it is better that it does not hear of a build that does not exist or cannot be read.
 */
async function startBuild(key) {
  try {
    const { metadata, directory } = await fetchMetadata(key);
    for (const module of metadata.modules) await fetchFile(directory, module, "HEAD");
  } catch (error) {
    if (findUsable(key) === undefined) builds.delete(key);
    throw toProblem(error);
  }
  const build = findUsable(key) ?? new Build(key); // another request may have been first
  builds.set(key, build);
  return build;
}

/** Give the loader the code of a build. workerd may ask again later, when it has dropped the build. */
async function handOver(build) {
  build.ready = false;
  build.handedOver = false;
  try {
    const code = await fetchCode(build.key);
    build.handedOver = true;
    return code;
  } catch (error) {
    build.problem = toProblem(error);
    throw error;
  }
}

/** Read all that workerd needs to know of a build. */
async function fetchCode(key) {
  const { metadata, directory } = await fetchMetadata(key);
  const modules = {};
  for (const module of metadata.modules) {
    modules[module.name] = cores.get(module.sha256) ?? (await fetchModule(directory, module));
  }
  const evictor = addModule(modules, "__gridiron-evictor.js", EVICTOR);
  const mainModule = addModule(modules, "__gridiron.js", renderMain(metadata.main, evictor));
  const { date, flags } = metadata.compatibility;
  const compatibilityFlags = completeFlags(flags);
  return { compatibilityDate: date, compatibilityFlags, mainModule, modules, env: metadata.vars };
}

/** A bundle's own flags and those that our main module needs; workerd takes none twice, or beside its opposite. */
function completeFlags(flags) {
  const kept = flags.filter((flag) => !OPPOSITE_FLAGS.includes(flag));
  return [...new Set([...kept, ...OUR_FLAGS])];
}

/** Add a module of ours under a name that the bundle leaves free, and give that. */
function addModule(modules, name, js) {
  while (name in modules) name = `_${name}`;
  modules[name] = { js };
  return name;
}

/**
 * The main module that every build gets: the bundle's own exports, and two entrypoints for this router. As under
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

/** Read what a build says of itself; a 404 unless it is the build of exactly this address. */
async function fetchMetadata(key) {
  const slash = key.indexOf("/");
  const name = key.slice(0, slash);
  const versionAndTimestamp = key.slice(slash + 1);
  if (!NAME.test(name) || !VERSION_AND_TIMESTAMP.test(versionAndTimestamp)) {
    throw notFound(`/${key} is not the address of a build: /{name}/{version}-{timestamp}.`);
  }
  const directory = `${name}-${versionAndTimestamp}`;
  const file = await env.BUNDLES.fetch(`http://bundles/${directory}/metadata.json`);
  if (file.status === 404) throw notFound(`There is no build at /${key} (any more).`);
  if (file.status !== 200) throw unreadable(`metadata.json: HTTP ${file.status}.`);
  const metadata = await file.json();
  // my/app-1.0.0-1 and my-app/1.0.0-1 are the same directory
  if (metadata.name !== name) throw notFound(`There is no build at /${key} (any more).`);
  return { metadata, directory };
}

/** Open a file of a build, or throw a Problem where it is not the file that was stored. */
async function fetchFile(directory, module, method = "GET") {
  const path = module.name.split("/").map(encodeURIComponent).join("/");
  const file = await env.BUNDLES.fetch(`http://bundles/${directory}/${path}`, { method });
  if (file.status === 404) throw unreadable(`${module.name} is missing.`);
  if (file.status !== 200) throw unreadable(`${module.name}: HTTP ${file.status}.`);
  if (Number(file.headers.get("content-length")) !== module.size) {
    throw unreadable(`${module.name} has another size than when it was stored.`);
  }
  return file;
}

async function fetchModule(directory, module) {
  const file = await fetchFile(directory, module);
  switch (module.kind) {
    case "js":
      return { js: await file.text() };
    case "wasm":
      return { wasm: await file.arrayBuffer() };
    case "json":
      return { json: parseJson(module.name, await file.text()) };
    case "text":
      return { text: await file.text() };
    case "data":
      return { data: await file.arrayBuffer() };
    default:
      throw scriptFailed(`${module.name} is of a kind that this node does not know: ${module.kind}.`);
  }
}

function parseJson(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw scriptFailed(`${name}: ${describe(error)}`);
  }
}

function toProblem(error) {
  return error instanceof Problem ? error : unreadable(describe(error));
}

/** Drop a build, whether it has loaded or is just being loaded; true when it had loaded. */
async function evict(key) {
  const build = builds.get(key);
  if (build === undefined) return false;
  const wasReady = build.ready;
  builds.delete(key); // first, so that nothing is sent to it any more
  if (build.problem === null) {
    evictions++;
    // this call never returns: its isolate is gone before it can answer
    await getEntrypoint(build, OUR_EVICTOR).evict().then(ignore, ignore);
  }
  return wasReady;
}

function listLoaded() {
  const ready = [...builds.values()].filter((build) => build.ready);
  const now = Date.now();
  return ready.map((build) => ({
    path: `/${build.key}`,
    in_flight: build.inFlight,
    answered: build.answered,
    idle_seconds: (now - build.usedAt) / 1000,
  }));
}

/** What a script's author needs of an error: without what workerd puts before it. */
function describe(error) {
  return String(error).replace(/^Error: (Failed to start Worker:\s+)?(Uncaught )?/, "");
}
