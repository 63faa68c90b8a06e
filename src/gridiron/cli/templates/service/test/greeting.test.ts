import assert from "node:assert/strict";
import test from "node:test";
import { greeting } from "../src/greeting.ts";

test("the hour decides the greeting", () => {
  const hours = [0, 5, 6, 11, 12, 17, 18, 23];
  assert.deepEqual(
    hours.map((hour) => greeting("Ada", hour)),
    ["night", "night", "morning", "morning", "afternoon", "afternoon", "evening", "evening"].map(
      (part) => `Good ${part}, Ada`,
    ),
  );
});
