export { countTokens } from "./tokenizer.ts";
export { cosine, embed } from "./embeddings.ts";
export { UpstreamClosedError, UpstreamConfigError, UpstreamStartError } from "./errors.ts";
export type { Fault } from "./faults.ts";
export type { UpstreamOptions } from "./options.ts";
export { startUpstream, type UpstreamServer, type UpstreamStats } from "./server.ts";
export { spawnUpstream, type UpstreamProcess } from "./upstream-process.ts";
