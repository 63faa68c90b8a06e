// The router worker, one in each cell: it sends /{name}/{version}-{timestamp}/… to the dynamic worker of
// that build, loads the build on its first request, counts what is in flight, and evicts a build on demand.
//
// Three properties of workerd shape this file:
// - A load that failed is remembered under its loader name for as long as the process lives. A script error
//   may stay so, since a build never changes; a file that could not be read must not. So a build whose code
//   was never handed over gets a new loader name for its next request.
// - What one request awaits, another may not. `builds` therefore holds plain values, and requests that come
//   while a build loads meet in the loader, which is made for it; those that come while it is fetched, see fetching.js.
// - A request whose client has gone is cancelled, unless `waitUntil` holds it.
import { env } from "cloudflare:workers";
import { OUR_READER } from "./build_log.js";
import { Lack, readOrFetch } from "./fetching.js";
import { findKeysProblem, findRefusal } from "./identity.js";
import { OUR_ENTRYPOINT, OUR_EVICTOR, addMainModule, completeFlags } from "./main_module.js";
import { Problem } from "./problem.js";

const HEALTH = "-/health";
const LOGS_ROOM = 1024 * 1024; // characters of logs in an answer, after which no further log is read for it
const LOG_LIMIT = 4 * 1024 * 1024; // of one: more than any has unless its build meddles with it
const MAX_ANSWER = 16 * 1024 * 1024; // bytes of an answer to Restate's discovery; a build's own has 250 for each handler
const NONCE_SIZE = 12; // bytes before what AES-GCM has sealed
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
const VERSION_AND_TIMESTAMP = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}-(0|[1-9][0-9]*)$/;

// The cores of Restate's SDK that this cell carries, compiled once: sha256 -> WebAssembly.Module.
const cores = new Map();
for (const sha256 of env.SDK_CORES) {
  cores.set(sha256, (await import(`./${sha256}.wasm`)).default);
}

// "name/version-timestamp" -> Build: those that have loaded, are loading, or failed to.
const builds = new Map();
let attempts = 0;
let evictions = 0;
const refused = {}; // requests that got a problem of ours for an answer, by its code

// Upper bounds of the milliseconds that a request takes. gridiron.workers.traffic has them in seconds.
const DURATIONS = [5, 25, 100, 500, 2500, 10_000, 60_000];
// How a request ends, as far as the build's own isolate tells; see TELL_OUTCOMES of main_module.js.
const OUTCOMES = ["ok", "failed", "retrying", "suspended", "cancelled"];

class Build {
  constructor(key) {
    this.key = key;
    this.loaderName = `${key}#${++attempts}`;
    this.ready = false; // it has loaded
    this.handedOver = false; // the loader has its code: what fails from here on is the script's fault
    this.problem = null; // why its code could not be handed over
    this.failure = null; // what its script failed by, and when, where it did not load
    this.inFlight = 0; // requests whose answers have not ended
    this.answered = 0; // invocations whose answers have
    this.usedAt = Date.now(); // when the last request came
    this.outcomes = { exception: 0 }; // of its requests, as its isolate has told last; this one is counted here
    this.told = 0; // how many had been answered then
    this.durations = new Array(DURATIONS.length + 1).fill(0); // invocations by the bound that they stayed below
    this.milliseconds = 0; // of all of them
  }
}

const notFound = (detail, Kind = Problem) => new Kind(404, "build_not_found", "No such build", detail);
const unreadable = (detail, Kind = Problem) => new Kind(503, "bundle_unreadable", "The bundle cannot be read", detail);
const secretsUnreadable = (detail) =>
  new Problem(503, "secrets_unreadable", "The secrets of the build cannot be read", detail);
const noAnswer = (detail) => new Problem(504, "no_answer", "The build keeps its answer back", detail);
const gone = (key) => `There is no build at /${key} (any more).`;
const scriptFailed = (detail) => new Problem(502, "script_failed", "The bundle does not load", detail);

export default {
  async fetch(request, _env, ctx) {
    const { key, path } = parse(request.url);
    if (key === HEALTH && path === "") return Response.json({ status: "ok" });
    try {
      const refusal = findRefusal(request, path, ctx);
      const problem = refusal instanceof Promise ? await refusal : refusal;
      return problem === null ? await answer(key, request, ctx) : refuse(problem);
    } catch (error) {
      if (error instanceof Problem) return refuse(error);
      throw error; // the handler threw
    }
  },
};

// Whoever reaches this socket commands the cell: nothing is asked for a signature here.
export const control = {
  async fetch(request, _env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (request.method === "GET" && pathname === "/health") return Response.json({ status: "ok" });
    if (request.method === "GET" && pathname === "/builds") {
      ctx.waitUntil(readOutcomes()); // for the next time: this answer tells whether the cell hangs
      return Response.json({ builds: listLoaded(), failed: listFailed(), evictions, refused });
    }
    if (request.method === "POST" && pathname === "/logs") {
      const { cursors } = await request.json();
      return new Response(await readLogs(cursors), { headers: { "content-type": "application/json" } });
    }
    if (request.method === "POST" && pathname.startsWith("/problems/")) {
      const key = pathname.slice("/problems/".length);
      const known = builds.has(key);
      const { accept, known_only } = await request.json();
      const problem = known || !known_only ? await findProblem(key, accept, request.signal, ctx) : null;
      return Response.json({ known, problem });
    }
    if (request.method === "DELETE" && pathname.startsWith("/builds/")) {
      const key = pathname.slice("/builds/".length);
      const spared = searchParams.has("idle") && builds.get(key)?.inFlight > 0;
      return Response.json({ unloaded: !spared && (await evict(key)) });
    }
    return new Problem(404, "not_found", "Nothing here", `${request.method} ${pathname}`).toResponse();
  },
};

function ignore() {}

/** Answer a request with the problem that keeps it from a build, and count it. */
function refuse(problem) {
  const { code } = problem.body;
  refused[code] = (refused[code] ?? 0) + 1;
  return problem.toResponse();
}

/**
 * Take "name/version-timestamp" out of a request's URL, and what follows that, without the cost of a URL object. A
 * query belongs to what follows: Restate sends none.
 */
function parse(url) {
  const start = url.indexOf("/", 8) + 1; // 8 is behind "http://" and at least one letter of the host
  const middle = url.indexOf("/", start);
  if (middle < 0) return { key: "", path: "" };
  let end = url.indexOf("/", middle + 1);
  const query = url.indexOf("?", middle + 1);
  if (query >= 0 && (end < 0 || query < end)) end = query;
  return end < 0 ? { key: url.slice(start), path: "" } : { key: url.slice(start, end), path: url.slice(end) };
}

/** Give a build's answer to a request; it is loaded where it is not. Throws the Problem that keeps it from loading. */
async function answer(key, request, ctx) {
  let build = builds.get(key);
  if (build === undefined || !build.ready) {
    const loading = load(key);
    ctx.waitUntil(loading.then(ignore, ignore)); // others may wait for it, even when this client does not
    build = await loading;
  }
  build.usedAt = Date.now();
  return forward(request, build, ctx);
}

/** Give the build's answer, and count the request until that has ended or its client has gone. */
async function forward(request, build, ctx) {
  const end = count(build, request, ctx);
  let response;
  try {
    response = await getEntrypoint(build, OUR_ENTRYPOINT).fetch(request);
  } catch (error) {
    end(build.problem === null);
    if (!build.handedOver) build.ready = false;
    throw build.problem ?? error; // a problem: workerd had dropped the build, and its code could not be read again
  }
  build.ready = true; // again, where workerd had dropped it
  if (response.body === null) {
    end();
    return response;
  }
  const { readable, writable } = new IdentityTransformStream();
  response.body.pipeTo(writable).then(() => end(), () => end(true));
  return new Response(readable, response);
}

/** Ask a build what Restate asks first; give the body of the Problem that keeps the answer from it, or null. */
async function findProblem(key, accept, signal, ctx) {
  try {
    const problem = await findKeysProblem(ctx);
    if (problem !== null) throw problem;
    const asking = new Request(`http://cell/${key}/discover`, { headers: { accept }, signal });
    await readWhole(await answer(key, asking, ctx));
    return null;
  } catch (error) {
    return error instanceof Problem ? error.body : null; // what else a build throws is its answer
  }
}

async function readWhole(response) {
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw noAnswer(`it gave no whole answer within ${MAX_ANSWER >> 20} MiB`);
  }
}

/**
 * Count a request as in flight; the function given back ends that, and is told whether the build failed to answer.
 * The client ends it too, by going away.
 */
function count(build, request, ctx) {
  /** @type {PromiseWithResolvers<void>} */
  const { promise, resolve } = Promise.withResolvers();
  const startedAt = build.usedAt;
  let open = true;
  const end = (failed = false) => {
    if (open) {
      build.inFlight--;
      if (failed) build.outcomes.exception++;
      if (request.method === "POST") time(build, Date.now() - startedAt);
    }
    open = false;
    resolve();
  };
  build.inFlight++;
  request.signal.addEventListener("abort", () => end());
  ctx.waitUntil(promise); // without it, nobody would be left to see that the client has gone
  return end;
}

/** Count an invocation as answered after so many milliseconds. */
function time(build, milliseconds) {
  let bound = 0;
  while (milliseconds > DURATIONS[bound]) bound++; // nothing is more than undefined, behind the last one
  build.durations[bound]++;
  build.milliseconds += milliseconds;
  build.answered++;
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
    const problem = build.problem ?? scriptFailed(describe(error));
    if (problem.body.code === "script_failed") build.failure ??= { time: Date.now(), message: problem.body.detail };
    throw problem;
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
    await readOrFetch(key, checkFiles);
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
    const code = await readOrFetch(build.key, fetchCode);
    build.handedOver = true;
    return code;
  } catch (error) {
    build.problem = toProblem(error);
    throw error;
  }
}

/** See that all files of a build are there, with the sizes that they had when it was stored. */
async function checkFiles(key) {
  const { metadata, directory } = await fetchMetadata(key);
  for (const module of metadata.modules) await fetchFile(directory, module, "HEAD");
  await openSecrets(directory, metadata);
}

/** Read all that workerd needs to know of a build. */
async function fetchCode(key) {
  const { metadata, directory } = await fetchMetadata(key);
  const secrets = await openSecrets(directory, metadata);
  const modules = {};
  for (const module of metadata.modules) {
    modules[module.name] = cores.get(module.sha256) ?? (await fetchModule(directory, module));
  }
  const mainModule = addMainModule(modules, metadata.main, crypto.randomUUID());
  const { date, flags } = metadata.compatibility;
  const compatibilityFlags = completeFlags(flags);
  const bindings = { ...metadata.vars, ...secrets };
  return { compatibilityDate: date, compatibilityFlags, mainModule, modules, env: bindings };
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
  if (file.status === 404) throw notFound(gone(key), Lack);
  if (file.status !== 200) throw unreadable(`metadata.json: HTTP ${file.status}.`);
  const metadata = await file.json().catch((error) => {
    throw unreadable(`metadata.json: ${describe(error)}`, Lack);
  });
  // my/app-1.0.0-1 and my-app/1.0.0-1 are the same directory
  if (metadata.name !== name) throw notFound(gone(key));
  return { metadata, directory };
}

/** Open a file of a build, or throw a Problem where it is not the file that was stored. */
async function fetchFile(directory, module, method = "GET") {
  const path = module.name.split("/").map(encodeURIComponent).join("/");
  const file = await env.BUNDLES.fetch(`http://bundles/${directory}/${path}`, { method });
  if (file.status === 404) throw unreadable(`${module.name} is missing.`, Lack);
  if (file.status !== 200) throw unreadable(`${module.name}: HTTP ${file.status}.`);
  if (Number(file.headers.get("content-length")) !== module.size) {
    throw unreadable(`${module.name} has another size than when it was stored.`, Lack);
  }
  return file;
}

/** Read a module. A replay must meet the very code that wrote the journal, so it has to be what was stored. */
async function fetchModule(directory, module) {
  const file = await fetchFile(directory, module);
  const content = await file.arrayBuffer();
  if ((await digest(content)) !== module.sha256) {
    throw unreadable(`${module.name} is not what was stored: its sha256 is another.`, Lack);
  }
  const text = () => new TextDecoder().decode(content);
  switch (module.kind) {
    case "js":
      return { js: text() };
    case "cjs":
      return { cjs: text() };
    case "wasm":
      return { wasm: content };
    case "json":
      return { json: parseJson(module.name, text()) };
    case "text":
      return { text: text() };
    case "data":
      return { data: content };
    default:
      throw scriptFailed(`${module.name} is of a kind that this node does not know: ${module.kind}.`);
  }
}

/**
 * Open the secrets that a build was made with, KEY -> value; gridiron.secrets.seal says how they are sealed. The key is
 * read anew each time, so that it helps at once when it is restored.
 */
async function openSecrets(directory, metadata) {
  if (!metadata.secrets?.length) return {};
  if (env.SECRETS === undefined) throw secretsUnreadable("The template of the configuration binds no SECRETS.");
  const raw = await fetchSecret(env.SECRETS, "http://secrets/key", "The node's key");
  const sealed = await fetchSecret(env.BUNDLES, `http://bundles/${directory}/secrets.sealed`, "secrets.sealed");
  try {
    const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
    const additionalData = new TextEncoder().encode(`snapshot:${directory}`);
    const how = { name: "AES-GCM", iv: sealed.slice(0, NONCE_SIZE), additionalData };
    return JSON.parse(new TextDecoder().decode(await crypto.subtle.decrypt(how, key, sealed.slice(NONCE_SIZE))));
  } catch {
    throw secretsUnreadable("secrets.sealed does not open with this node's key.");
  }
}

async function fetchSecret(service, url, what) {
  const file = await service.fetch(url);
  if (file.status === 404) throw secretsUnreadable(`${what} is missing.`);
  if (file.status !== 200) throw secretsUnreadable(`${what}: HTTP ${file.status}.`);
  return file.arrayBuffer();
}

async function digest(content) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
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

/**
 * What builds have printed since their cursors, `path -> cursor`, as the text of `{logs: {path: page}}`: null for a log
 * that cannot be read, and nothing of those that there was no room for any more.
 */
async function readLogs(cursors) {
  const pages = [];
  let room = LOGS_ROOM;
  for (const [path, cursor] of Object.entries(cursors)) {
    if (room <= 0) break;
    const page = await readLog(path.slice(1), cursor).then((read) => JSON.stringify(read)).catch(() => "null");
    pages.push(`${JSON.stringify(path)}:${page.length > LOG_LIMIT ? "null" : page}`);
    room -= page.length;
  }
  return `{"logs":{${pages.join()}}}`;
}

/** What a build has printed since `cursor`, as far as it is kept, or why it does not load; nothing of any other. */
async function readLog(key, cursor) {
  const nothing = { cursor, missed: 0, entries: [] };
  const build = builds.get(key);
  if (build?.failure && !build.ready) return readFailure(build, cursor);
  if (!build?.ready) return nothing; // nor is it loaded for this
  const [id, afterLine, afterOutcome] = (cursor ?? "").split("_");
  try {
    const reader = getEntrypoint(build, OUR_READER);
    const read = await reader.read(id, Number(afterLine), Number(afterOutcome));
    return { cursor: `${read.id}_${read.line}_${read.outcome}`, missed: read.missed, entries: read.entries.map(flatten) };
  } catch (error) {
    if (builds.get(key) !== build) return nothing; // it has been evicted meanwhile
    throw error;
  }
}

/** An entry without what its build may have put there: something deep, that nobody can read. */
function flatten(entry) {
  const fields = Object.entries(entry).filter(([, value]) => typeof value !== "object");
  return Object.fromEntries(fields);
}

/** What a script threw while it loaded. No isolate came of it that could keep that. */
function readFailure({ loaderName, failure }, cursor) {
  const entries = cursor === loaderName ? [] : [{ kind: "exception", level: "error", ...failure }];
  return { cursor: loaderName, missed: 0, entries };
}

function listFailed() {
  return [...builds.values()].filter((build) => build.failure && !build.ready).map((build) => `/${build.key}`);
}

/** Have the builds that answered something since the last time tell what came of it. */
async function readOutcomes() {
  for (const build of [...builds.values()]) {
    if (!build.ready || build.told === build.answered) continue;
    build.told = build.answered; // first, so that nobody else asks it meanwhile
    try {
      const tally = await getEntrypoint(build, OUR_READER).tally();
      for (const outcome of OUTCOMES) build.outcomes[outcome] = Number.isSafeInteger(tally[outcome]) ? tally[outcome] : 0;
    } catch {
      build.told = 0; // its isolate has ended: the next one is asked, unless it was evicted
    }
  }
}

function listLoaded() {
  const ready = [...builds.values()].filter((build) => build.ready);
  const now = Date.now();
  return ready.map((build) => ({
    path: `/${build.key}`,
    in_flight: build.inFlight,
    answered: build.answered,
    outcomes: build.outcomes,
    durations: build.durations,
    milliseconds: build.milliseconds,
    idle_seconds: (now - build.usedAt) / 1000,
  }));
}

/** What a script's author needs of an error: without what workerd puts before it. */
function describe(error) {
  return String(error).replace(/^Error: (Failed to start Worker:\s+)?(Uncaught )?/, "");
}
