"""A bundle whose handlers do what they can to take a node down, for tests and benches."""

from __future__ import annotations

BRING_DOWN = ("loop", "heap")
"""Handlers that bring their cell down: they never end, and their build is quarantined."""

WASTE = ("storm", "flood", "abort")
"""Handlers that only waste."""

# built by `gridiron.testing.probe.build_probe`, whose placeholders it has
HOSTILE_SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { abortIsolate } from "cloudflare:workers";
const later = () => new Promise((resolve) => setTimeout(resolve, 1));
const hostile = restate.service({
  name: "@SERVICE@",
  handlers: {
    loop: async () => { while (true); },
    heap: async () => { for (const hoard = []; ; ) hoard.push(new Array(100_000).fill(Math.random())); },
    storm: async () => {
      for (let round = 0; round < 100; round++) await Promise.all(Array.from({ length: 10_000 }, later));
      return "@VERSION@";
    },
    flood: async () => {
      for (let line = 0; line < 1000; line++) console.log("x".repeat(1_000_000));
      return "@VERSION@";
    },
    abort: async () => { abortIsolate("on purpose"); },
    well: async () => "@VERSION@",
  },
});
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [hostile], bidirectional }) };
"""
