/** The server sent what cannot be read, or does not belong where it came. Nothing that follows can be trusted. */
export class MalformedMessageError extends Error {
  override name = "MalformedMessageError";

  constructor(what: string) {
    super(`the server sent ${what}`);
  }
}
