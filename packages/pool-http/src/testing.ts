/** A server that fails as told, for tests of HTTP clients: this pool's, and any other. */
export { FaultServer, closedPort, startFaultServer, type FaultServerConnections } from "./testing/fault-server.ts";
export type { FaultServerOptions } from "./testing/server-options.ts";
export type { FaultRequest } from "./testing/records.ts";
export {
  FaultScriptError,
  type FaultExchange,
  type FaultHeaders,
  type RequestScript,
  type Script,
  type Step,
} from "./testing/script.ts";
export {
  body,
  close,
  drip,
  endBody,
  goAway,
  head,
  hold,
  meanwhile,
  raw,
  reply,
  reset,
  resetStream,
  stall,
  step,
  stopReading,
  wait,
  type GoAwayOptions,
  type ReplyOptions,
} from "./testing/steps.ts";
export {
  closeAfterResponse,
  drippingBody,
  garbage,
  garbageAfterResponse,
  gzipBomb,
  halfHeader,
  interimStorm,
  oversizeBody,
  oversizeHeaders,
  redirect,
  resetAfterHeaders,
  resetAfterResponse,
  resetBeforeHeaders,
  retryAfter,
  truncatedBody,
  truncatedChunks,
  wrongEncoding,
} from "./testing/faults.ts";
export { byPath, inTurn, onEachConnection, redirectLoop, waves, type Wave } from "./testing/sequences.ts";
export {
  createTestAuthority,
  type IssueOptions,
  type TestAuthority,
  type TestCertificate,
} from "./testing/certificates.ts";
