/** Who may use the API: whoever has the key, or, where there is none, whoever is on this machine. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ApiError } from "./api-error.ts";

const LOOPBACK_NAMES = new Set(["localhost", "127.0.0.1", "[::1]"]);

// Hashes have one length, which is what a comparison in constant time needs.
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

export class KeyCheck {
  readonly #key: Buffer | undefined;

  constructor(apiKey: string | undefined) {
    this.#key = apiKey === undefined ? undefined : digest(apiKey);
  }

  /** Whether the request has the key; never where none is set. For the rate limit, which knows only checked names. */
  isValid(request: IncomingMessage): boolean {
    const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const given = bearer ?? request.headers["x-api-key"];
    return this.#key !== undefined && typeof given === "string" && timingSafeEqual(digest(given), this.#key);
  }

  /** @throws ApiError unauthorized, forbidden */
  require(request: IncomingMessage): void {
    if (this.#key !== undefined) {
      if (this.isValid(request)) return;
      throw new ApiError("unauthorized", "A valid API key is required: Authorization: Bearer <key>.");
    }
    // Without a key, being on this machine is the permission. A web page that runs here is not somebody who is here:
    // its origin gives it away, and a name that was bent to loopback (DNS rebinding) stands in Host.
    if (!isLoopback(`http://${request.headers.host ?? "localhost"}`) || !isLoopback(request.headers.origin)) {
      throw new ApiError("forbidden", "Without API_KEY the service answers only to this machine, by a loopback name.");
    }
  }
}

function isLoopback(origin: string | undefined): boolean {
  return origin === undefined || LOOPBACK_NAMES.has(URL.parse(origin)?.hostname ?? "");
}
