// Who calls: Restate signs each request with the node's key (gridiron.identity), and nobody else may reach a build.
//
// What it sends is a JWT (RFC 7519) with an Ed25519 signature (RFC 8037). `aud` is the path behind the build's, so a token
// is good for one handler; `nbf` and `exp` lie 60 s before and behind. They are whole seconds, and the same text has the same
// signature, so all requests for a handler within a second carry the same token. What has been verified is therefore
// remembered, for no longer than the keys: both are forgotten after a second. So a signature costs a verification a second
// for each handler, and a key that is accepted no more is refused within a second, whatever its tokens say.
import { env } from "cloudflare:workers";
import { Problem } from "./problem.js";

const SCHEME_HEADER = "x-restate-signature-scheme";
const SCHEME = "v1";
const TOKEN_HEADER = "x-restate-jwt-v1";
const KEPT_MILLISECONDS = 1000; // gridiron.identity.store.SETTLE relies on it

let keys = null; // kid -> CryptoKey, or the Problem that there are none; null: they were not read yet
let readAt = -Infinity; // when reading them began last
const verified = new Map(); // token -> claims

const unsigned = (detail) => refusal("request_unsigned", "Not signed", detail);
const invalid = (detail) => refusal("request_signature_invalid", "Not signed by this node", detail);
const refusal = (code, title, detail) => new Problem(401, code, title, detail);
const unreadable = (detail) =>
  new Problem(503, "identity_unreadable", "The keys that Restate signs with cannot be read", detail);

/**
 * Give the Problem that keeps a request for `path` from a build, or null where there is none: at once where its token
 * is known already, else a promise of it. `path` is what follows the build's own.
 */
export function findRefusal(request, path, ctx) {
  const { headers } = request;
  const token = headers.get(TOKEN_HEADER);
  if (token === null || headers.get(SCHEME_HEADER) !== SCHEME) {
    return unsigned("Restate signs what it sends to a build, and nobody else may: call its ingress.");
  }
  const claims = Date.now() - readAt < KEPT_MILLISECONDS ? verified.get(token) : undefined;
  return claims === undefined ? verify(token, path, ctx) : judge(claims, path);
}

/** Give the Problem that no request can be let in, or null. */
export async function findKeysProblem(ctx) {
  await ensureKeys(ctx);
  return keys instanceof Problem ? keys : null;
}

async function verify(token, path, ctx) {
  await ensureKeys(ctx);
  if (keys instanceof Problem) return keys;
  const claims = verified.get(token) ?? (await open(token));
  return claims === null ? invalid("No key that this node accepts has signed this request.") : judge(claims, path);
}

/** Say what is wrong with claims that are signed as they should be; null: nothing. */
function judge({ aud, nbf, exp }, path) {
  const now = Date.now() / 1000;
  if (now >= exp) return refusal("request_signature_expired", "Signed too long ago", "Its signature has expired.");
  if (now < nbf) return refusal("request_signature_early", "Signed for later", "Its signature is not valid yet.");
  if (aud === path) return null;
  return refusal("request_signature_misdirected", "Signed for another path", "Its signature is for another path.");
}

/** Read the keys where that was long ago. Meanwhile others go by those that were read before. */
async function ensureKeys(ctx) {
  const now = Date.now();
  if (keys !== null && now - readAt < KEPT_MILLISECONDS) return;
  readAt = now;
  const reading = readKeys();
  ctx.waitUntil(reading); // also when this client goes
  await reading;
}

async function readKeys() {
  try {
    keys = await fetchKeys();
  } catch (error) {
    keys = error instanceof Problem ? error : unreadable(`accepted.json is damaged: ${error}`);
  }
  verified.clear();
}

async function fetchKeys() {
  if (env.IDENTITY === undefined) throw unreadable("The template of the configuration binds no IDENTITY.");
  const file = await env.IDENTITY.fetch("http://identity/accepted.json");
  if (file.status === 404) throw unreadable("accepted.json is missing: Restate's role writes it when it starts.");
  if (file.status !== 200) throw unreadable(`accepted.json: HTTP ${file.status}.`);
  const read = new Map();
  for (const { kty, crv, kid, x } of (await file.json()).keys) {
    read.set(kid, await crypto.subtle.importKey("jwk", { kty, crv, x }, "Ed25519", false, ["verify"]));
  }
  return read;
}

/** Give the claims of a token that an accepted key has signed, else null. */
async function open(token) {
  const accepted = keys;
  try {
    const [header, payload, signature, ...more] = token.split(".");
    const { alg, kid } = JSON.parse(decoder.decode(decode(header)));
    const key = alg === "EdDSA" ? accepted.get(kid) : undefined;
    if (key === undefined || more.length > 0) return null;
    const signed = encoder.encode(`${header}.${payload}`);
    if (!(await crypto.subtle.verify("Ed25519", key, decode(signature), signed))) return null;
    const { aud, nbf, exp } = JSON.parse(decoder.decode(decode(payload)));
    if (typeof aud !== "string" || typeof nbf !== "number" || typeof exp !== "number") return null;
    if (accepted === keys) verified.set(token, { aud, nbf, exp });
    return { aud, nbf, exp };
  } catch {
    return null; // it is no token
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const decode = (text) => Uint8Array.fromBase64(text, { alphabet: "base64url" });
