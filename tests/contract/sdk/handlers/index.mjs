// All services of the suite, written once for both runtimes. Each takes the SDK as an argument, and its name ends
// in the runtime's, so that one Restate has them side by side.
import { calls } from "./calls.mjs";
import { combinators } from "./combinators.mjs";
import { endings } from "./endings.mjs";
import { errors } from "./errors.mjs";
import { hooks } from "./hooks.mjs";
import { objects } from "./objects.mjs";
import { options } from "./options.mjs";
import { payloads } from "./payloads.mjs";
import { promises } from "./promises.mjs";
import { runs } from "./runs.mjs";
import { shared } from "./shared.mjs";
import { workflows } from "./workflows.mjs";

const GROUPS = [calls, combinators, endings, errors, hooks, objects, options, payloads, promises, runs, shared, workflows];

export function makeServices(restate, runtime) {
  const named = (name) => `${name}.${runtime}`;
  return GROUPS.flatMap((make) => make(restate, named));
}
