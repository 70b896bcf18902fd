import type { Clock, LogTimeFormat } from "../config.ts";

/**
 * Makes the function that gives the `,"time":…` of a line. The text of the current second is kept: most lines only
 * add three digits to it. A clock that throws, or tells no time, is replaced for that line by the system's.
 */
export function createTimestamp(format: LogTimeFormat, clock: Clock): () => string {
  let second = NaN;
  let prefix = "";

  const stampOf = (now: number): string => {
    if (format === "unix_ms") return `,"time":${Math.floor(now)}`;
    const current = Math.floor(now / 1000);
    if (current !== second) {
      prefix =
        format === "unix" ? `,"time":${current}` : `,"time":"${new Date(current * 1000).toISOString().slice(0, -4)}`;
      second = current;
    }
    if (format === "unix") return prefix;
    const milliseconds = Math.floor(now - current * 1000);
    return `${prefix}${milliseconds < 10 ? "00" : milliseconds < 100 ? "0" : ""}${milliseconds}Z"`;
  };

  return () => {
    try {
      const now = clock.now();
      if (Number.isFinite(now)) return stampOf(now);
    } catch {
      // Told below by the system's clock.
    }
    return stampOf(Date.now());
  };
}
