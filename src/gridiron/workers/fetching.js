// What the disk lacks of a build, or has damaged, is asked for at the manager of this node, which fetches builds from
// those that its cluster shares. A node alone has no binding `MANAGER`, and nobody to ask.
//
// One request asks for a build. The others that come meanwhile may not await what that one does, so they look again and
// again what came of it. Nothing is remembered beyond that: the next request for a build that is still lacking asks anew.
import { env } from "cloudflare:workers";
import { Problem } from "./problem.js";

// Milliseconds that a request waits. The manager fetches on, and Restate tries again within a second. The manager
// itself asks the router why a build does not answer, and waits a little longer: gridiron.workers.control.ANSWER_LIMIT.
const LIMIT = 4000;
const LOOK_INTERVAL = 100; // milliseconds; hundreds of requests may look, for some 40 µs each time

const questions = new Map(); // "name/version-timestamp" -> { until, outcome }: what is asked for now

/** Why a build cannot be read, where fetching it may help: a file is missing, or is not what was stored. */
export class Lack extends Problem {}

const notFetched = (detail) => new Problem(503, "build_not_fetched", "The build was not fetched", detail);
const notYet = () => notFetched(`The manager has not fetched it within ${LIMIT / 1000} s, and goes on.`);

/** Read something of a build; once more where it was lacking and the manager has fetched it. Throws a Problem. */
export async function readOrFetch(key, read) {
  try {
    return await read(key);
  } catch (error) {
    if (env.MANAGER === undefined || !(error instanceof Lack)) throw error;
    if (!(await fetchBuild(key))) throw error;
  }
  return read(key);
}

/** Have the manager fetch a build: false where there is none. Throws the Problem that it cannot be had now. */
async function fetchBuild(key) {
  let question = questions.get(key);
  if (question === undefined || Date.now() >= question.until) {
    question = { until: Date.now() + LIMIT, outcome: undefined };
    questions.set(key, question);
    question.outcome = await ask(key);
    if (questions.get(key) === question) questions.delete(key);
  }
  while (question.outcome === undefined && Date.now() < question.until) await scheduler.wait(LOOK_INTERVAL);
  const outcome = question.outcome ?? notYet(); // who asked may have been cut off
  if (outcome instanceof Problem) throw outcome;
  return outcome;
}

/** Ask the manager: whether the build is there now, or the Problem that it cannot be had. */
async function ask(key) {
  try {
    const signal = AbortSignal.timeout(LIMIT);
    const answer = await env.MANAGER.fetch(`http://manager/builds/${key}`, { method: "POST", signal });
    if (answer.status === 200 || answer.status === 404) return answer.status === 200;
    const hasWords = answer.headers.get("content-type") === "application/problem+json";
    const reason = hasWords ? (await answer.json()).detail : `HTTP ${answer.status}`;
    return notFetched(`The manager could not fetch it: ${reason}`);
  } catch (error) {
    return error.name === "TimeoutError" ? notYet() : notFetched(`The manager does not answer. Is it running? (${error})`);
  }
}
