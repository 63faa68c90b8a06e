import {
  TerminalError,
  type WorkflowContext,
  type WorkflowSharedContext,
  createEndpointHandler,
  workflow,
} from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { type Claim, type Status, close, isClaim, needsDecision } from "./claim.ts";

interface State {
  status: Status;
}

const claims = workflow({
  name: "@NAME@",
  handlers: {
    // Runs once for each key. Restate journals each step, so a crash, or a wait of days, loses nothing.
    run: async (ctx: WorkflowContext<State>, claim?: Claim): Promise<Status> => {
      // Restate tries a handler that fails again, until it succeeds. A TerminalError is final: the caller gets it.
      if (!isClaim(claim)) {
        throw new TerminalError('run takes a claim, as in {"purpose": "trip", "amount": 700}', { errorCode: 400 });
      }
      let approved = true;
      if (needsDecision(claim)) {
        ctx.set("status", "waiting");
        // Takes no memory and no processor while it waits: the code is loaded again when somebody has decided.
        approved = await ctx.promise<boolean>("decision");
      }
      const status = close(approved);
      ctx.set("status", status);
      return status;
    },

    // These may be called while the workflow runs.
    decide: async (ctx: WorkflowSharedContext<State>, approved?: boolean): Promise<void> => {
      if (typeof approved !== "boolean") throw new TerminalError("decide takes true or false", { errorCode: 400 });
      await ctx.promise<boolean>("decision").resolve(approved);
    },

    status: async (ctx: WorkflowSharedContext<State>): Promise<Status> => {
      return (await ctx.get("status")) ?? "unknown";
    },
  },
});

// `bidirectional` keeps one stream open for a whole call instead of one request for each step.
export default { fetch: createEndpointHandler({ services: [claims], bidirectional: true }) };
