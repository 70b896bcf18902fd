/** What holds the process alive, as far as pools and servers make it: connections, dials, lookups and timers. */
export function heldNow(): string[] {
  const kinds = new Set(["TCPSocketWrap", "TLSWrap", "Timeout", "GetAddrInfoReqWrap", "TCPConnectWrap"]);
  return process.getActiveResourcesInfo().filter((name) => kinds.has(name));
}

/** What is held now and was not before. What others held before, such as the test runner, may end meanwhile. */
export function heldSince(before: readonly string[]): string[] {
  const now = heldNow();
  for (const each of before) if (now.includes(each)) now.splice(now.indexOf(each), 1);
  return now;
}
