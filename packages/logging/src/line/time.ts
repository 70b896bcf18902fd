import type { Clock, LogTimeFormat } from "../config.ts";

/**
 * Makes the function that gives the `,"time":…` of a line. The text of the current millisecond is kept, and of
 * the current second, to which most others only add three digits. A clock that throws, or tells no time, is replaced for that line by the system's.
 */
export function createTimestamp(format: LogTimeFormat, clock: Clock): () => string {
  let second = NaN;
  let prefix = "";
  let instant = NaN;
  let stamp = "";

  const stampOf = (now: number): string => {
    if (now === instant) return stamp;
    stamp = makeStamp(now);
    instant = now;
    return stamp;
  };

  const makeStamp = (now: number): string => {
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
