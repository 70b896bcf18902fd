import { EventEmitter, once } from "node:events";
import { createLogger, type Logger, type LoggerConfig } from "@vg/logging";

export type Line = Record<string, unknown>;

/** A logger whose lines can be waited for. */
export interface LineStream {
  readonly logger: Logger;
  readonly lines: Line[];
  /** Resolves as soon as there are so many lines of requests. */
  requests(count: number): Promise<Line[]>;
}

export function lineStream(config: LoggerConfig = {}): LineStream {
  const lines: Line[] = [];
  const arrivals = new EventEmitter();
  const destination = {
    write(line: string) {
      lines.push(JSON.parse(line) as Line);
      arrivals.emit("line");
    },
  };
  const ofRequests = (): Line[] => lines.filter((line) => line["message"] === "http_request");
  return {
    logger: createLogger({ ...config, destination }),
    lines,
    async requests(count) {
      while (ofRequests().length < count) await once(arrivals, "line");
      return ofRequests();
    },
  };
}
