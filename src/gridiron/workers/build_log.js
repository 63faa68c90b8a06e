// What a build prints, kept in its own isolate: so whose it is needs no proof, nothing is sent anywhere until
// somebody asks, and it goes when the build does. It is a module of ours that is evaluated before the bundle.
//
// workerd's tail workers would tell the same. A streaming one took a third of the calls of a worker that does nothing,
// and needs `allowExperimental`, which would let the bundle have it too. A plain one hears of a request when all
// that it began has ended, and takes every request for hung that our main module holds open (docs/decisions/0019).
export const OUR_READER = "__GridironReader";

/** Give the module's source. `id` names this log among all; `loadedAt` (milliseconds) is the time until a request comes. */
export function renderLog(id, loadedAt) {
  return String.raw`
    import { AsyncLocalStorage } from "node:async_hooks";
    import { WorkerEntrypoint } from "cloudflare:workers";
    export const { now } = Date; // the bundle may put another in its place
    const LOADED_AT = ${JSON.stringify(loadedAt)};
    const ID = ${JSON.stringify(id)};
    ${SHOWING}
    ${KEEPING}
    ${LISTENING}
    export class ${OUR_READER} extends WorkerEntrypoint {
      read(id, afterLine, afterOutcome) { return read(id, afterLine, afterOutcome); }
      tally() { return tally; }
    }
    Object.freeze(${OUR_READER}.prototype);
    Object.freeze(${OUR_READER});`;
}

// A line is made here, when it is printed: later the values may be others. It takes no more steps than its length.
const SHOWING = String.raw`
    const MAX_MESSAGE = 16 * 1024; // characters of a message
    const MAX_DEPTH = 8; // of objects within objects
    function show(values) {
      try {
        const message = join(values);
        return message.length > MAX_MESSAGE ? message.slice(0, MAX_MESSAGE) + "…" : message;
      } catch (error) { // a getter of the bundle's, most likely
        return "(what was printed cannot be shown: " + error + ")";
      }
    }
    function join(values) {
      let [text, next] = typeof values[0] === "string" ? fillIn(values) : ["", 0];
      for (; next < values.length && text.length <= MAX_MESSAGE; next++) {
        text += (next > 0 ? " " : "") + showOne(values[next]);
      }
      return text;
    }
    function fillIn(values) { // %s, %d and the others, as the console's specification has them
      const format = values[0];
      let next = 1;
      if (values.length === 1 || !format.includes("%")) return [format, next];
      const text = format.replace(/%[sdifjoOc%]/g, (mark) => {
        if (mark === "%%") return "%";
        if (next >= values.length) return mark;
        const value = values[next++];
        if (mark === "%c") return ""; // a style
        if (mark === "%d" || mark === "%f") return typeof value === "bigint" ? value + "n" : String(Number(value));
        if (mark === "%i") return typeof value === "bigint" ? value + "n" : String(parseInt(value, 10));
        return mark === "%s" ? showOne(value) : showPart(value, MAX_MESSAGE, []);
      });
      return [text, next];
    }
    const showOne = (value) => (typeof value === "string" ? value : showPart(value, MAX_MESSAGE, []));
    function showPart(value, room, around) {
      if (typeof value === "string") return JSON.stringify(value.slice(0, room));
      if (typeof value === "bigint") return value + "n";
      if (typeof value === "function") return "[Function: " + value.name + "]";
      if (typeof value !== "object" || value === null) return String(value);
      if (value instanceof Error) return around.length ? JSON.stringify(String(value)) : showError(value);
      if (around.includes(value)) return '"[Circular]"';
      if (around.length >= MAX_DEPTH) return Array.isArray(value) ? '"[Array]"' : '"[Object]"';
      if (typeof value.toJSON === "function") return showPart(value.toJSON(), room, [...around, value]);
      if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
        return '"[' + value.constructor.name + ": " + value.byteLength + ' bytes]"';
      }
      const list = Array.isArray(value) || value instanceof Set || value instanceof Map;
      return showParts(list ? value : pairs(value), list ? "[]" : "{}", room, [...around, value]);
    }
    function showParts(parts, brackets, room, around) {
      let text = brackets[0];
      for (const part of parts) {
        if (text.length > room) break; // the rest would be cut off
        if (text.length > 1) text += ",";
        const [key, value] = brackets === "{}" ? part : [null, part];
        if (key !== null) text += JSON.stringify(key) + ":";
        text += showPart(value, room - text.length, around);
      }
      return text + brackets[1];
    }
    function* pairs(object) {
      for (const key in object) if (Object.hasOwn(object, key)) yield [key, object[key]];
    }
    function showError(error) {
      const text = String(error.stack || error);
      return error.cause === undefined ? text : text + "\n  cause: " + showPart(error.cause, MAX_MESSAGE, [error]);
    }`;

// What came last is kept: of lines so many, so that they are no burden to their cell, and apart from them of outcomes,
// so that a busy build's do not displace its lines. A read calls nothing that the bundle can have changed: it would
// hang the cell when none of the build's requests is there to tell whose fault that is.
const KEEPING = String.raw`
    class Ring {
      entries = [];
      size = 0; // characters of their messages
      dropped = 0;
      constructor(maxEntries, maxSize) {
        this.maxEntries = maxEntries;
        this.maxSize = maxSize;
      }
      add(entry) {
        this.entries.push(entry);
        this.size += entry.message.length;
        while (this.entries.length > this.maxEntries || this.size > this.maxSize) {
          this.size -= this.entries.shift().message.length;
          this.dropped++;
        }
      }
    }
    const lines = new Ring(1000, 256 * 1024);
    const outcomes = new Ring(1000, 64 * 1024);
    const tally = { ok: 0, failed: 0, retrying: 0, suspended: 0, cancelled: 0, exception: 0 }; // of all outcomes
    let count = 0;
    function add(ring, call, fields) {
      const told = now(); // 0 while modules are evaluated
      const time = told > LOADED_AT ? told : LOADED_AT;
      const { invocation, handler } = call ?? {};
      ring.add({ order: count++, time, invocation, handler, ...fields });
    }
    const { setPrototypeOf } = Object;
    const at = ({ entries, dropped }, number) => number - dropped < entries.length ? entries[number - dropped] : undefined;
    function read(id, afterLine, afterOutcome) {
      let line = id === ID ? afterLine : 0;
      let outcome = id === ID ? afterOutcome : outcomes.dropped; // nobody waits for what came before he asked
      let missed = 0;
      if (line < lines.dropped) {
        missed += lines.dropped - line;
        line = lines.dropped;
      }
      if (outcome < outcomes.dropped) {
        missed += outcomes.dropped - outcome;
        outcome = outcomes.dropped;
      }
      const entries = setPrototypeOf([], null); // and of what is past an end, nobody is asked
      for (;;) {
        const one = at(lines, line);
        const other = at(outcomes, outcome);
        if (one === undefined && other === undefined) return { id: ID, line, outcome, missed, entries };
        const isLine = other === undefined || one?.order < other.order;
        entries[entries.length] = isLine ? one : other;
        if (isLine) line++;
        else outcome++;
      }
    }`;

// What is printed goes on to the cell's output, too. Left out of both is what Restate's SDK prints when each attempt at an
// invocation begins and ends, since outcomes tell that and it would displace what the bundle prints; and that nobody checks
// signatures, since the router does (identity.js). An exception that nobody catches is told by an event, but for those of a
// timer and of `waitUntil`: workerd keeps them to itself.
const LISTENING = String.raw`
    export const work = new AsyncLocalStorage(); // what a request is about, see our main module
    for (const level of ["debug", "error", "info", "log", "warn"]) {
      const print = console[level];
      console[level] = (...values) => {
        if (isLeftOut(values)) return;
        print.apply(console, values);
        add(lines, work.getStore(), { kind: "log", level, message: show(values) });
      };
    }
    const LEFT_OUT = [
      "Starting invocation.",
      "Replaying invocation.",
      "Invocation completed successfully.",
      "Accepting requests without validating request signatures; handler access must be restricted",
    ];
    function isLeftOut([prefix, text, ...more]) {
      return more.length === 0 && LEFT_OUT.includes(text) && String(prefix).startsWith("[restate]");
    }
    export function addException(error, call = work.getStore()) {
      add(lines, call, { kind: "exception", level: "error", message: show([error]) });
    }
    const LEVELS = { ok: "info", suspended: "info", retrying: "warn", cancelled: "warn" };
    export function addOutcome(call, outcome, reason = "") {
      const { handler, startedAt } = call;
      const milliseconds = now() - startedAt;
      const message = reason && show([reason]);
      tally[outcome]++;
      add(outcomes, call, { kind: "outcome", level: LEVELS[outcome] ?? "error", outcome, milliseconds, message });
    }
    export function tellOfWork(ctx) { // what is handed over has an owner, and its failure no event
      const wait = ctx.waitUntil.bind(ctx);
      ctx.waitUntil = (promise) => wait(Promise.resolve(promise).catch((error) => {
        addException(error);
        throw error;
      }));
    }
    addEventListener("unhandledrejection", ({ reason }) => addException(reason));
    addEventListener("error", ({ error, message }) => addException(error ?? message));
    for (const name of ["setTimeout", "setInterval", "setImmediate"]) {
      const set = globalThis[name];
      if (set === undefined) continue; // it is Node.js's, of whose ways the bundle may want none
      const telling = (callback) => function (...given) {
        try {
          return callback.apply(this, given);
        } catch (error) {
          addException(error);
          throw error;
        }
      };
      globalThis[name] = Object.assign(
        (callback, ...rest) => set(typeof callback === "function" ? telling(callback) : callback, ...rest), set,
      );
    }`;
