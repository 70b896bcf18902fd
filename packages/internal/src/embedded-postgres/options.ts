import type { Guard } from "./guard.ts";
import type { Identity } from "./places.ts";

export interface EmbeddedPostgresOptions {
  /**
   * Keep the database here between starts: a folder that is missing, empty, or was made by an earlier start. Relative
   * paths start at the working directory. Default: a temporary folder that goes when the server stops.
   */
  dataDir?: string;
  /** The port; default 0, a free one. */
  port?: number;
  /** The database that `dsn` names; default "postgres". It is created when it is missing. */
  database?: string;
  /** Server settings, as in postgresql.conf. */
  settings?: Record<string, string>;
  /** Receives the server's log, a line at a time. */
  onLog?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly dsn: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Absolute, without symbolic links. */
  readonly dataDir: string;
  readonly pid: number;
  /** Resolves when the server process has ended, for whatever reason; keeps this process alive until then. */
  exited(): Promise<void>;
  /** Ends every session, stops the server, even in the middle of a restart, and removes its temporary folder. Idempotent. */
  stop(): Promise<void>;
  /** Sends the server process a signal: SIGKILL is a crash, SIGSTOP a freeze, SIGCONT its end. */
  signal(name: NodeJS.Signals): void;
  /**
   * Starts the server again on the same port and data after it ended; for tests of recovery. Rejects when the server
   * was stopped for good, before or meanwhile.
   */
  restart(): Promise<void>;
}

/** What one start works with. */
export interface Setup {
  /** The folder of the binaries: bin/, lib/ and share/. */
  readonly native: string;
  readonly dataDir: string;
  /** Beside the data folder: where the cluster is made, until it is whole. */
  readonly staging: string;
  /** Gone after this start, whatever happens; never holds kept data. */
  readonly scratch: string;
  /** Whether the data outlives this start. */
  readonly kept: boolean;
  readonly identity: Identity | undefined;
  readonly guard: Guard;
}
