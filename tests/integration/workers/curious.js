// A bundle that tries to reach what it is told to, by every means that a worker has.
// POST [[means, host, port], …] answers ["reached: …" or "refused: …", …].
import { connect } from "cloudflare:sockets";
import http from "node:http";
import net from "node:net";

const ASK = "GET / HTTP/1.1\r\nhost: target\r\nconnection: close\r\n\r\n";
const bare = (host) => host.replace(/^\[|\]$/g, "");
const url = (host, port) => `http://${host}:${port}/`;

const MEANS = {
  fetch: async (host, port) => (await fetch(url(host, port))).text(),
  post: async (host, port) => (await fetch(url(host, port), { method: "POST", body: "x" })).text(),
  // `via` is a public server that redirects
  redirect: async (host, port, via) => (await fetch(`${via}to?${url(host, port)}`)).text(),
  upgrade: async (host, port) => (await fetch(url(host, port), { headers: { upgrade: "websocket" } })).text(),
  websocket: (host, port) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${host}:${port}/`);
      socket.addEventListener("open", () => resolve("open"));
      // a server that answers, although not as a WebSocket's, was reached
      socket.addEventListener("error", ({ message }) =>
        message.includes("expected server to reply") ? resolve(message) : reject(new Error(message)),
      );
    }),
  events: (host, port) =>
    new Promise((resolve, reject) => {
      const source = new EventSource(url(host, port));
      source.onopen = () => resolve("open");
      source.onerror = ({ error }) => {
        source.close();
        `${error}`.includes("content type") ? resolve(`${error}`) : reject(error);
      };
    }),
  connect: async (host, port) => {
    const socket = connect(typeof port === "number" ? { hostname: host, port } : host);
    socket.closed.catch(() => {});
    await socket.writable.getWriter().write(new TextEncoder().encode(ASK));
    const { value } = await socket.readable.getReader().read();
    return new TextDecoder().decode(value);
  },
  "node:net": (host, port) =>
    new Promise((resolve, reject) => {
      const target = typeof port === "number" ? { host: bare(host), port } : { path: host };
      const socket = net.connect(target, () => socket.write(ASK));
      socket.on("error", reject).on("data", (data) => resolve(`${data}`));
    }),
  "node:http": (host, port) =>
    new Promise((resolve, reject) => {
      const target = typeof port === "number" ? { host, port } : { socketPath: host, path: "/" };
      http.get(target, ({ statusCode }) => resolve(statusCode)).on("error", reject);
    }),
};

const silence = () => new Promise((resolve) => setTimeout(resolve, 5_000, "silent: no answer in 5 s"));

async function attempt(via, [means, host, port]) {
  try {
    return `reached: ${await MEANS[means](host, port, via)}`;
  } catch (error) {
    return `refused: ${error}`;
  }
}

export default {
  async fetch(request) {
    const { via, attempts } = await request.json();
    return Response.json(await Promise.all(attempts.map((each) => Promise.race([attempt(via, each), silence()]))));
  },
};
