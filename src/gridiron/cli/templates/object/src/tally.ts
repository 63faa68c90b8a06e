/** What is known of the numbers so far. */
export interface Tally {
  readonly count: number;
  readonly sum: number;
  readonly largest: number | null;
}

export const EMPTY: Tally = { count: 0, sum: 0, largest: null };

/** Count one more number. */
export function add(tally: Tally, value: number): Tally {
  return {
    count: tally.count + 1,
    sum: tally.sum + value,
    largest: Math.max(tally.largest ?? value, value),
  };
}
