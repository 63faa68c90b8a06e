// The same services in a bundle.
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { makeServices } from "./handlers/index.mjs";

export default {
  fetch: restate.createEndpointHandler({ services: makeServices(restate, "cells"), bidirectional: true }),
};
