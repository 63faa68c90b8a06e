// The baseline `node`: the handlers in a plain Node.js process. Arguments: service, version. It listens on a
// free port, speaks cleartext HTTP/2, prints its port when it does, and ends when its input ends.
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";
import { makeHandlers } from "./handlers.js";

const [service, version] = process.argv.slice(2);
const services = [restate.service({ name: service, handlers: makeHandlers(version) })];
const server = http2.createServer(restate.createEndpointHandler({ services }));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
