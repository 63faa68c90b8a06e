// The services in a plain Node.js process, over cleartext HTTP/2. The first line of its output is the port.
import { once } from "node:events";
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";
import { makeServices } from "./handlers/index.mjs";

const handler = restate.createEndpointHandler({ services: makeServices(restate, "node"), bidirectional: true });
const server = http2.createServer(handler).listen(0, "127.0.0.1");
await once(server, "listening");
console.log(`listens on ${server.address().port}`);
