import assert from "node:assert/strict";
import test from "node:test";
import { SMALL, close, isClaim, needsDecision } from "../src/claim.ts";

test("small claims need no decision", () => {
  const amounts = [SMALL - 1, SMALL, SMALL + 1];
  assert.deepEqual(
    amounts.map((amount) => needsDecision({ purpose: "trip", amount })),
    [false, false, true],
  );
});

test("a decision closes a claim", () => {
  assert.deepEqual([close(true), close(false)], ["paid", "refused"]);
});

test("a claim has a purpose and an amount", () => {
  assert.equal(isClaim({ purpose: "trip", amount: 1 }), true);
  assert.equal(isClaim({ purpose: "trip", amount: 0 }), false);
  assert.equal(isClaim(undefined), false);
});
