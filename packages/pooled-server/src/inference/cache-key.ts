import { createHmac, createSecretKey, hash, randomBytes } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import { without, type JsonObject } from "./json.ts";
import type { SeenBody } from "./seen-bodies.ts";

/** Another form of key or of stored answer gets another number, so that no key of an older form is ever found. */
const KEY_VERSION = 1;

/**
 * The fields of a request's body that its answer does not depend on. Everything else is in the key: a list of what to
 * leave out fails by asking twice, a list of what to take in by giving somebody a wrong answer.
 */
const DENIED: ReadonlySet<string> = new Set(["stream", "stream_options", "user", "metadata", "store", "cache"]);
/** Of an embeddings request: each input has a key of its own, and either encoding is made of what is stored. */
const DENIED_FOR_EMBEDDINGS: ReadonlySet<string> = new Set([...DENIED, "input", "encoding_format"]);

/** What an answer depends on besides the body. */
export interface KeyScope {
  /** The path or name of what is asked; two routes never share an answer. */
  route: string;
  /** Whose request it is: a credential or a name. Two tenants never share an answer. */
  tenant: string;
  model: string;
  /** A further division that the client or the service chose. */
  namespace: string;
}

// A new secret each start: what lies in memory or in a dump says nothing about a credential.
// As a key object, which node:crypto need not make anew for every request.
const secret = createSecretKey(randomBytes(32));

/**
 * `inference:<model>:<hash>`
 *
 * @param seen where the body is one whose text has come before
 */
export function completionKey(scope: KeyScope, body: JsonObject, seen?: SeenBody): string {
  const where = scopeText("inference", scope);
  if (seen === undefined) return keyOf("inference", where, scope, canonicalJson(without(body, DENIED)));
  if (seen.scope === where) return seen.key;
  seen.canonical ??= canonicalJson(without(body, DENIED));
  seen.key = keyOf("inference", where, scope, seen.canonical);
  seen.scope = where;
  return seen.key;
}

/** Makes the keys of the inputs of one request. An input is a text or an array of token ids. */
export function embeddingKeys(scope: KeyScope, body: JsonObject): (input: unknown) => string {
  const rest = canonicalJson(without(body, DENIED_FOR_EMBEDDINGS));
  const where = scopeText("embedding", scope);
  return (input) => keyOf("embedding", where, scope, `${rest}\n${canonicalJson(input)}`);
}

function scopeText(kind: string, { route, tenant, model, namespace }: KeyScope): string {
  // Halves of a pair that stand alone would all be the same in UTF-8.
  const whose = tenant === "" ? "" : createHmac("sha256", secret).update(tenant, "utf16le").digest("base64url");
  // An array in JSON: no value can run into the next one.
  return JSON.stringify([KEY_VERSION, kind, route, whose, namespace, model]);
}

function keyOf(kind: string, where: string, { model }: KeyScope, content: string): string {
  const digest = hash("sha256", `${where}\n${content}`, "base64url");
  // The model is there for whoever reads a list of keys; a client chooses its length.
  return `${kind}:${model.slice(0, 64)}:${digest}`;
}
