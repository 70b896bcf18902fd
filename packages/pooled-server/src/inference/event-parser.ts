/** A server-sent event, as far as inference needs it. */
export interface ServerSentEvent {
  /** "" where the server gave it no name. */
  readonly event: string;
  readonly data: string;
}

/**
 * Takes a stream of server-sent events apart (WHATWG HTML, 9.2.6), wherever its bytes are cut. Comments, ids and retry
 * times are left out, and so is an event that the stream ends within.
 */
export class EventParser {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  /** The line that has begun, in the pieces that it came in: one long line must not be searched again and again. */
  #line: string[] = [];
  #data: string[] = [];
  #event = "";
  #endedWithCr = false;

  /** @throws TypeError for bytes that are not UTF-8 */
  feed(bytes: Uint8Array): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    let text = this.#decoder.decode(bytes, { stream: true });
    if (this.#endedWithCr && text !== "") {
      if (text.startsWith("\n")) text = text.slice(1);
      this.#endedWithCr = false;
    }
    let start = 0;
    const ends = /\r\n|\n|\r/g;
    for (let end = ends.exec(text); end !== null; end = ends.exec(text)) {
      this.#line.push(text.slice(start, end.index));
      start = ends.lastIndex;
      this.#endLine(this.#line.length === 1 ? (this.#line[0] as string) : this.#line.join(""), events);
      this.#line = [];
    }
    // A line feed that follows in the next bytes belongs to this end of line.
    if (text.endsWith("\r")) this.#endedWithCr = true;
    if (start < text.length) this.#line.push(text.slice(start));
    return events;
  }

  /** The data of the event that the stream has ended within; "" where there is none. */
  get unfinished(): string {
    const line = /^data: ?(.*)$/s.exec(this.#line.join(""))?.[1];
    return [...this.#data, ...(line === undefined ? [] : [line])].join("\n");
  }

  #endLine(line: string, events: ServerSentEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ event: this.#event, data: this.#data.join("\n") });
      this.#data = [];
      this.#event = "";
      return;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    if (field !== "data" && field !== "event") return;
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else this.#event = value;
  }
}
