// The handlers of every subject, whatever serves them: one step, ten steps, none.
export const makeHandlers = (version) => ({
  one: async (ctx) => ctx.run("step", () => version),
  ten: async (ctx) => {
    for (let step = 0; step < 10; step++) await ctx.run(`step ${step}`, () => step);
    return version;
  },
  none: async () => version,
});
