import type { Exchange } from "../exchange/exchange.ts";
import type { PreparedRequest } from "../exchange/request.ts";
import type { ResolvedOptions } from "../options.ts";
import type { ConnectionWatcher } from "../transport/connection-watcher.ts";

/** What a face needs of its pool, and all that it can do with it. */
export interface FaceHost {
  readonly options: ResolvedOptions;
  /** A request of this pool, counted and not yet sent. Throws HttpPoolClosedError. */
  begin(request: PreparedRequest): Exchange;
  /** Whether a further request to this origin would get a connection, or a dial, without waiting for another request. */
  hasRoom(origin: string): boolean;
  /** Who hears of the pool's connections. */
  readonly watchers: Set<ConnectionWatcher>;
}
