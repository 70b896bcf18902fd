import { UpstreamConfigError } from "./errors.ts";
import { type Timing, realTiming } from "./timing.ts";

export const MODEL_ID = "vg-demo-ngram";

export interface UpstreamOptions {
  /** Texts (Markdown or plain) that the model learns from, beside its built-in text. Default: none. */
  documents?: readonly string[];
  /** Port on 127.0.0.1, 0 to 65535; default 0, a free one. */
  port?: number;
  /** Requests that run at once, 1 to 1024; default 4. */
  slots?: number;
  /** Requests that may wait for a slot, 0 to 100 000; beyond it the answer is 503 with Retry-After. Default 64. */
  queue?: number;
  /** Time for each token of a prompt, 0 to 60 000; default 0.05. */
  prefillMsPerToken?: number;
  /** Time for each token of an answer, 0 to 60 000; default 4. */
  decodeMsPerToken?: number;
  /** Model ids that are served beside "vg-demo-ngram", all by the same model. Default: none. */
  models?: readonly string[];
  /** When set, requests below /v1 need it as a Bearer token. Default: no key. */
  apiKey?: string;
  /** Time, for tests. */
  timing?: Timing;
}

export type CheckedOptions = Required<Omit<UpstreamOptions, "apiKey">> & { apiKey: string | undefined };

const DEFAULTS = { port: 0, slots: 4, queue: 64, prefillMsPerToken: 0.05, decodeMsPerToken: 4 } as const;

const NAMES = new Set(["documents", "models", "apiKey", "timing", ...Object.keys(DEFAULTS)]);

/** @throws UpstreamConfigError that names the option, what was received and what is allowed */
export function checkUpstreamOptions(options: UpstreamOptions): CheckedOptions {
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) {
      throw new UpstreamConfigError(
        `startUpstream: unknown option ${JSON.stringify(name)}. Known: ${[...NAMES].join(", ")}.`,
      );
    }
  }
  const number = (name: keyof typeof DEFAULTS, min: number, max: number, whole: boolean): number => {
    const value: unknown = options[name] ?? DEFAULTS[name];
    if (typeof value !== "number" || !(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
      const rule = `a ${whole ? "whole " : ""}number from ${min} to ${max}`;
      throw new UpstreamConfigError(`startUpstream: ${name} must be ${rule}, got ${JSON.stringify(value)}.`);
    }
    return value;
  };
  const strings = (name: "documents" | "models"): readonly string[] => {
    const value: unknown = options[name] ?? [];
    if (!Array.isArray(value) || !value.every((text) => typeof text === "string")) {
      throw new UpstreamConfigError(`startUpstream: ${name} must be an array of strings.`);
    }
    return value;
  };
  const apiKey: unknown = options.apiKey;
  if (apiKey !== undefined && (typeof apiKey !== "string" || apiKey === "")) {
    throw new UpstreamConfigError("startUpstream: apiKey must be a string that is not empty. Leave it out for no key.");
  }
  const models = strings("models");
  if (models.includes("")) throw new UpstreamConfigError("startUpstream: models must not hold an empty id.");
  return {
    documents: strings("documents"),
    models,
    apiKey,
    port: number("port", 0, 65_535, true),
    slots: number("slots", 1, 1024, true),
    queue: number("queue", 0, 100_000, true),
    prefillMsPerToken: number("prefillMsPerToken", 0, 60_000, false),
    decodeMsPerToken: number("decodeMsPerToken", 0, 60_000, false),
    timing: options.timing ?? realTiming,
  };
}
