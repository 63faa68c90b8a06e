/** Somebody spent money and wants it back. */
export interface Claim {
  readonly purpose: string;
  readonly amount: number;
}

export type Status = "unknown" | "waiting" | "paid" | "refused";

/** What is paid without a question. */
export const SMALL = 100;

export function isClaim(claim: Claim | undefined): claim is Claim {
  return typeof claim?.purpose === "string" && typeof claim.amount === "number" && claim.amount > 0;
}

/** Tell whether somebody has to look at a claim. */
export function needsDecision(claim: Claim): boolean {
  return claim.amount > SMALL;
}

/** Say what becomes of a claim. */
export function close(approved: boolean): Status {
  return approved ? "paid" : "refused";
}
