/** Greet somebody; `hour` is 0 to 23. */
export function greeting(name: string, hour: number): string {
  return `Good ${partOfDay(hour)}, ${name}`;
}

function partOfDay(hour: number): string {
  if (hour < 6) return "night";
  if (hour < 12) return "morning";
  return hour < 18 ? "afternoon" : "evening";
}
