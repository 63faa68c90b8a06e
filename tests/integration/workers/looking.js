// A bundle that looks for whatever it can see of the node and of other bundles, and answers with what it found.
import * as workers from "cloudflare:workers";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import process from "node:process";

const tried = async (look) => {
  try {
    return await look();
  } catch (error) {
    return `refused: ${error}`;
  }
};

function walk(directory) {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory === "/" ? "" : directory}/${entry.name}`;
    return entry.isDirectory() ? [path, ...walk(path)] : [path];
  });
}

const require = (from, name) => Object.keys(createRequire(from)(name));

const put = async (cache) => {
  await cache.put("http://cached.test/", new Response("cached", { headers: { "cache-control": "max-age=60" } }));
  return (await cache.match("http://cached.test/"))?.text();
};

export default {
  async fetch(request, env, ctx) {
    const { files, modules } = await request.json();
    const import_ = (name) => tried(async () => Object.keys(await import(name)));
    const read = (path) => tried(() => fs.readFileSync(path, "utf8"));
    const entries = async (names, look) => Object.fromEntries(await Promise.all(names.map(async (n) => [n, await look(n)])));
    return Response.json({
      env,
      imported_env: workers.env,
      process_env: { ...process.env },
      props: ctx.props,
      exports: Object.keys(ctx.exports),
      imported_exports: Object.keys(workers.exports),
      process: { argv: process.argv, execArgv: process.execArgv, execPath: process.execPath, cwd: process.cwd() },
      os: { hostname: os.hostname(), user: os.userInfo(), interfaces: os.networkInterfaces() },
      tree: walk("/"),
      files: await entries(files, read),
      modules: await entries(modules, import_),
      // where a bundle's modules lie depends on the registry that its flags choose
      required: await entries(modules, (name) => tried(() => require("/bundle/index.js", name))),
      required_at_root: await entries(modules, (name) => tried(() => require("/index.js", name))),
      caches: [await tried(() => put(caches.default)), await tried(async () => put(await caches.open("mine")))],
    });
  },
};
