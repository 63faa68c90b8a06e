import assert from "node:assert/strict";
import test from "node:test";
import { EMPTY, add } from "../src/tally.ts";

test("numbers are counted, added and compared", () => {
  const tally = [-3, 4, 1].reduce(add, EMPTY);
  assert.deepEqual(tally, { count: 3, sum: 2, largest: 4 });
});

test("the largest of negative numbers is not zero", () => {
  assert.equal(add(EMPTY, -3).largest, -3);
});
