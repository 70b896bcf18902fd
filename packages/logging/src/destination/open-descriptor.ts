import { openSync } from "node:fs";
import { DescriptorSink } from "./descriptor.ts";
import type { Sink } from "./sink.ts";
import { realSystem } from "./system.ts";

/** The numbers that loggers were given, and what was open under them then. */
const shared = new Map<number, { readonly file: string; readonly sink: DescriptorSink }>();

/** The sink of a descriptor of the user's; all loggers for the same open file share it. */
export function sharedDescriptor(fd: number, isBuffered: boolean): Sink {
  // A number is used again after its file was closed: what is left of the one before must not get into the next.
  const file = realSystem.identityOf(fd);
  const known = shared.get(fd);
  if (known !== undefined && known.file === file && !known.sink.ended) {
    if (isBuffered) known.sink.stopWaiting();
    return known.sink;
  }
  const sink = new DescriptorSink(fd, { file: fd > 2 ? file : undefined });
  if (isBuffered) sink.stopWaiting();
  shared.set(fd, { file, sink });
  return sink;
}

/** The sink of a file that is opened for one logger, and closed by it. @throws what the system does */
export function closingDescriptor(path: string): Sink {
  const open = (): number => openSync(path, "a");
  return new DescriptorSink(open(), { open });
}
