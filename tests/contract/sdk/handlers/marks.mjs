// What goes on after a stream has closed is seen only in the runtime's output. A mark is a line there that names
// its invocation.

export const mark = (ctx, text) => console.log(`mark ${ctx.request().id} ${text}.`);

export const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

const attempts = new Map();

/** Count the attempts of an invocation, from 1, as this process or isolate sees them. */
export function countAttempt(ctx) {
  const { id } = ctx.request();
  const attempt = (attempts.get(id) ?? 0) + 1;
  attempts.set(id, attempt);
  return attempt;
}

export const currentAttempt = (ctx) => attempts.get(ctx.request().id);
