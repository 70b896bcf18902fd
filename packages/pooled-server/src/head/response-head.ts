/**
 * The head of an answer, whoever writes it: headers that are put in at the last moment, unless the handler has set them
 * itself, and who is told that it is out.
 *
 * Set before, such headers would take Node.js off its quick way of writing heads; put in by `writeHead`, each would be
 * checked letter by letter. So the text of them all goes in front of the handler's, where Node.js puts a head together:
 * in `_storeHeader`, which it has called so since 2010, but which is no public interface. Where a Node.js comes along that
 * does it otherwise, as is seen when this module is loaded, `writeHead` does the same.
 *
 * What is set is set on the response itself: frameworks give responses another prototype.
 */
import { IncomingMessage, ServerResponse, type OutgoingHttpHeaders } from "node:http";
import { Socket } from "node:net";

/** Whose answer it is. */
export interface HeadOwner {
  /** Names in lower case and values, in turns. Nothing in them is a client's, but for what was looked at. */
  readonly lateHeaders: readonly string[];
  /** Who is told that the head is out; it may be told more than once, if the first attempt failed. */
  readonly headWatcher: HeadWatcher | undefined;
}

export interface HeadWatcher {
  /** @param headers all that the handler has given; see `headerIn` */
  headOut(owner: HeadOwner, headers: Headers): void;
}

/**
 * What `writeHead` and `_storeHeader` take: names and values in a record, or in an array, flat or in pairs. What was set
 * one by one, node:http has as a record of pairs.
 */
export type Headers = OutgoingHttpHeaders | unknown[] | null | undefined;

/** A header's value as a text, its name perhaps before it; "" where there is none. @param name in lower case */
export function headerIn(headers: Headers, name: string): string {
  if (headers === null || headers === undefined) return "";
  if (Array.isArray(headers)) {
    const found = pairsOf(headers).find(([each]) => String(each).toLowerCase() === name);
    return found === undefined ? "" : String(found[1]);
  }
  for (const each in headers) {
    if (each.length === name.length && each.toLowerCase() === name) return String(headers[each]);
  }
  return "";
}

const OWNER: unique symbol = Symbol("vg.pooled-server.head-owner");

interface OwnedResponse {
  [OWNER]?: HeadOwner;
  _storeHeader(firstLine: string, headers: Headers): void;
  writeHead(this: ServerResponse, status: number, reason?: unknown, headers?: unknown): unknown;
}

/** From now on its head is the owner's, too. */
export function ownHead(response: ServerResponse, owner: HeadOwner): void {
  if (MAY_STORE) ownStoredHead(response, owner);
  else ownWrittenHead(response, owner);
}

export function ownStoredHead(response: ServerResponse, owner: HeadOwner): void {
  const owned = response as unknown as OwnedResponse;
  owned[OWNER] = owner;
  owned._storeHeader = storeHeader;
}

export function ownWrittenHead(response: ServerResponse, owner: HeadOwner): void {
  const owned = response as unknown as OwnedResponse;
  owned[OWNER] = owner;
  owned.writeHead = writeHead;
}

// One function for all responses, in the place of a closure for each.

function storeHeader(this: OwnedResponse, firstLine: string, headers: Headers): void {
  const owner = this[OWNER] as HeadOwner;
  const { _storeHeader } = Object.getPrototypeOf(this) as OwnedResponse;
  _storeHeader.call(this, firstLine + textOf(missing(owner.lateHeaders, headers)), headers);
  owner.headWatcher?.headOut(owner, headers);
}

function writeHead(this: ServerResponse, status: number, reason?: unknown, headers?: unknown): unknown {
  const owner = (this as unknown as OwnedResponse)[OWNER] as HeadOwner;
  const { writeHead: plain } = Object.getPrototypeOf(this) as OwnedResponse;
  const hasReason = typeof reason === "string";
  const late = missing(owner.lateHeaders, (hasReason ? headers : (headers ?? reason)) as Headers);
  if (!this.headersSent) {
    for (let i = 0; i < late.length; i += 2) {
      if (!this.hasHeader(late[i] as string)) this.setHeader(late[i] as string, late[i + 1] as string);
    }
  }
  const result = hasReason ? plain.call(this, status, reason, headers) : plain.call(this, status, headers ?? reason);
  // What was given has been set by now, as the late headers were.
  owner.headWatcher?.headOut(owner, this.getHeaders());
  return result;
}

/** The late headers whose names are not among the handler's own. */
function missing(late: readonly string[], headers: Headers): readonly string[] {
  if (headers === null || headers === undefined) return late;
  if (Array.isArray(headers)) {
    return without(
      late,
      pairsOf(headers).map(([name]) => name),
    );
  }
  for (const name in headers) if (late.includes(name.toLowerCase())) return without(late, Object.keys(headers));
  return late;
}

function without(late: readonly string[], names: readonly unknown[]): readonly string[] {
  const own = new Set(names.map((name) => String(name).toLowerCase()));
  return late.filter((_, i) => !own.has(late[i - (i % 2)] as string));
}

/** Of names and values in an array, which may be flat, or of pairs. */
function pairsOf(headers: readonly unknown[]): readonly unknown[][] {
  if (Array.isArray(headers[0])) return headers as unknown[][];
  return headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []));
}

function textOf(headers: readonly string[]): string {
  let text = "";
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return text;
}

const MAY_STORE: boolean = mayStore();

/** Whether this Node.js lets `_storeHeader` put a head together, with the status line first. */
function mayStore(): boolean {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  if (typeof (response as unknown as Partial<OwnedResponse>)._storeHeader !== "function") return false;
  let isTold = false;
  const owner: HeadOwner = { lateHeaders: ["x-late", "1"], headWatcher: { headOut: () => (isTold = true) } };
  ownStoredHead(response, owner);
  response.writeHead(200, { "x-own": "2" });
  const { _header: head } = response as unknown as { _header?: unknown };
  return isTold && typeof head === "string" && head.startsWith("HTTP/1.1 200 OK\r\nx-late: 1\r\nx-own: 2\r\n");
}
