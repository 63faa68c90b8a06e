// Handlers that are ended in every way there is. All of them have hooks, and tell what goes on in them and when
// their abort signal fires; "1 " before a mark is the attempt.
import { countAttempt, currentAttempt, mark, pause } from "./marks.mjs";

const LONGEST_ATTEMPT_MILLIS = 15_000;
const HOUR = { hours: 1 };
const SUSPENDED_SOON = { inactivityTimeout: 1000 };
// Restate 1.7 closes the stream five seconds after that
const ABORTED_SOON = { inactivityTimeout: 1000, abortTimeout: 300 };

/** Wait until a signal has fired, but no longer than a limit. */
const hasFired = (signal, limit) => {
  const fired = new Promise((resolve) => signal.addEventListener("abort", resolve));
  return signal.aborted ? undefined : Promise.race([fired, pause(limit)]);
};

export function endings(restate, named) {
  const { handler } = restate.handlers;
  const { RestatePromise, TerminalError } = restate;
  const child = { name: named("EndingChild") };

  /** A closure that takes its time, and has something to do at its end. */
  const slowly = (say, millis = 1500) => async () => {
    say("closure begins");
    try {
      await pause(millis);
      say("closure goes on");
      await pause(100);
      return "closure";
    } finally {
      await pause(100);
      say("closure ends");
    }
  };

  /** Make garbage, so that the collector comes. */
  const waste = (say) => {
    const garbage = Array.from({ length: 1_000_000 }, (_, index) => ({ index }));
    say(`makes ${garbage.length} objects`);
  };

  /** A closure that begins to end only when its attempt has been ended. */
  const outliving = (ctx, say) => async () => {
    say("closure begins");
    try {
      await hasFired(ctx.request().attemptCompletedSignal, LONGEST_ATTEMPT_MILLIS);
      await pause(1500);
      say("closure goes on");
    } finally {
      await pause(100);
      say("closure ends");
    }
  };

  /** A handler with compensations and a `finally` around what it does. */
  const saga = (act) => async (ctx, argument) => {
    const attempt = currentAttempt(ctx);
    const say = (text) => mark(ctx, `${attempt} ${text}`);
    const undo = async (what) => {
      await pause(50);
      say(`undoes ${what}`);
    };
    try {
      return await act(ctx, say, attempt, argument);
    } catch (error) {
      say(`catches ${error.name}`);
      await pause(50);
      await ctx.run("undo second", () => undo("second"));
      await ctx.run("undo first", () => undo("first"));
      throw error;
    } finally {
      say("finally begins");
      await pause(50);
      say("finally ends");
    }
  };

  const hooks = ({ request }) => {
    const ctx = { request: () => request };
    const attempt = countAttempt(ctx);
    const say = (text) => mark(ctx, `${attempt} ${text}`);
    request.attemptCompletedSignal.addEventListener("abort", () => say("signal"));
    const around = async (what, next) => {
      say(`${what} hook begins`);
      try {
        await next();
        say(`${what} hook sees an answer`);
      } catch (error) {
        say(`${what} hook sees ${error.name}`);
        // the attempt is over: its signal fires, before or after this
        if (what === "handler" && !(error instanceof TerminalError)) await hasFired(request.attemptCompletedSignal, 3000);
        throw error;
      } finally {
        await pause(20);
        say(`${what} hook ends`);
      }
    };
    return { interceptor: { handler: (next) => around("handler", next), run: around } };
  };

  const handlers = {
    sleep: saga(async (ctx, say) => {
      say("waits");
      await ctx.sleep(HOUR);
    }),
    awakeable: saga(async (ctx, say) => {
      say("waits");
      await ctx.awakeable().promise;
    }),
    call: saga(async (ctx, say) => {
      const answer = ctx.serviceClient(child).wait();
      say(`waits for ${await answer.invocationId}`);
      await answer;
    }),
    signal: saga(async (ctx, say) => {
      say("waits");
      await ctx.signal("never sent");
    }),
    mapped: saga(async (ctx, say) => {
      say("waits");
      await ctx.awakeable().promise.map((_, failure) => say(`never called ${failure}`));
    }),
    attached: saga(async (ctx, say) => {
      const sent = ctx.serviceSendClient(child).wait();
      const id = await sent.invocationId;
      say(`waits for ${id}`);
      await ctx.attach(id);
    }),
    combined: saga(async (ctx, say) => {
      say("waits");
      await RestatePromise.all([ctx.sleep(HOUR), ctx.awakeable().promise.orTimeout(HOUR)]);
    }),
    closure: saga(async (ctx, say) => ctx.run("slow", slowly(say))),
    outlivingClosure: saga(async (ctx, say) => ctx.run("slow", outliving(ctx, say))),
    wasteful: saga(async (ctx, say) => {
      return ctx.run("slow", async () => {
        say("closure begins");
        await hasFired(ctx.request().attemptCompletedSignal, LONGEST_ATTEMPT_MILLIS);
        await pause(500);
        for (let step = 1; step <= 5; step++) {
          await pause(50);
          waste(say);
        }
        say("closure ends");
      });
    }),
    // the same without any promise
    leavesWasteBehind: saga(async (ctx, say) => {
      const wasteAgain = (times) => {
        waste(say);
        if (times > 1) setTimeout(() => wasteAgain(times - 1), 50);
        else say("timers end");
      };
      ctx.request().attemptCompletedSignal.addEventListener("abort", () => setTimeout(() => wasteAgain(5), 50));
      return "answered";
    }),
    stoppedByItsSignal: saga(async (ctx, say) => {
      return ctx.run("slow", async () => {
        say("closure begins");
        const signal = AbortSignal.any([ctx.request().attemptCompletedSignal, AbortSignal.timeout(60_000)]);
        await hasFired(signal, LONGEST_ATTEMPT_MILLIS);
        say(`closure is stopped: ${signal.reason.name}`);
      });
    }),
    // what it awaits is not Restate's
    ownPromise: saga(async (ctx, say) => {
      await ctx.run("quick", () => {});
      return slowly(say)();
    }),
    abortedInClosure: handler(
      ABORTED_SOON,
      saga(async (ctx, say, attempt) => {
        return ctx.run("slow", attempt === 1 ? outliving(ctx, say) : () => `attempt ${attempt}`);
      }),
    ),
    abortedInOwnPromise: handler(
      ABORTED_SOON,
      saga(async (ctx, say, attempt) => {
        await ctx.run("quick", () => {});
        if (attempt === 1) await outliving(ctx, say)();
        return `attempt ${attempt}`;
      }),
    ),
    suspended: handler(
      SUSPENDED_SOON,
      saga(async (ctx, say, attempt) => {
        const { id, promise } = ctx.awakeable();
        say(`waits for ${id}`);
        return [await promise, `attempt ${attempt}`];
      }),
    ),
    suspendedInSleep: handler(
      SUSPENDED_SOON,
      saga(async (ctx, say, attempt) => {
        say("sleeps");
        await ctx.sleep(2500);
        return `attempt ${attempt}`;
      }),
    ),
    // the attempt ends with an error while another closure runs
    failing: handler(
      { retryPolicy: { initialInterval: 300 } },
      saga(async (ctx, say, attempt) => {
        const slow = ctx.run("slow", attempt === 1 ? outliving(ctx, say) : () => `attempt ${attempt}`);
        await RestatePromise.race([slow, ctx.sleep(50)]); // a closure runs when it is awaited
        const fails = ctx.run("fails", () => {
          if (attempt === 1) throw new Error("not yet");
        });
        return attempt === 1 ? RestatePromise.all([slow, fails]) : [await fails, await slow];
      }),
    ),
    leavesWorkBehind: saga(async (ctx, say) => {
      const tick = () => {
        let ticks = 0;
        const interval = setInterval(() => {
          say(`tick ${++ticks}`);
          if (ticks < 3) return;
          clearInterval(interval);
          setTimeout(() => queueMicrotask(() => say("timer")), 200);
        }, 200);
      };
      const work = async () => {
        await hasFired(ctx.request().attemptCompletedSignal, LONGEST_ATTEMPT_MILLIS);
        for (let step = 1; step <= 5; step++) {
          await pause(200);
          say(`step ${step}`);
        }
        tick();
      };
      work();
      return "answered";
    }),
    refuses: saga(async (ctx, say) => {
      setTimeout(() => say("timer"), 1500);
      throw new TerminalError("no tea", { errorCode: 418 });
    }),
    explicit: handler(
      { explicitCancellation: true },
      saga(async (ctx, say) => {
        const controller = new AbortController();
        const cancelled = ctx.cancellation().map(() => {
          controller.abort();
          throw new TerminalError("was told to stop", { errorCode: 409 });
        });
        const closure = async () => {
          say("closure begins");
          await new Promise((resolve) => controller.signal.addEventListener("abort", resolve));
          say("closure is stopped");
        };
        return RestatePromise.race([ctx.run("stoppable", closure), cancelled]);
      }),
    ),
    explicitCall: handler(
      { explicitCancellation: true },
      saga(async (ctx, say) => {
        const answer = ctx.serviceClient(child).wait();
        say(`waits for ${await answer.invocationId}`);
        await RestatePromise.race([answer, ctx.cancellation()]);
        const cancelled = await ctx.cancelPreviousCalls();
        say(`cancels ${cancelled}`);
        return answer;
      }),
    ),
    // goes on after its stream has closed, for longer than any short limit
    long: saga(async (ctx, say, _, seconds) => ctx.run("slow", slowly(say, seconds * 1000))),
  };
  return [
    restate.service({ name: named("Endings"), handlers, options: { hooks: [hooks] } }),
    restate.service({
      name: child.name,
      handlers: {
        wait: saga(async (ctx, say) => {
          say("waits");
          await ctx.awakeable().promise;
        }),
      },
      options: { hooks: [hooks] },
    }),
  ];
}
