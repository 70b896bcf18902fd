/**
 * Cleans up behind this process, should it end without doing so (kill -9, a crash, Ctrl-C in the middle of a start).
 *
 * A small shell reads a pipe that breaks when this process ends, however it ends. Through it come the ids of the
 * processes that work on the data, the newest last: that one is stopped, and the temporary folders are removed.
 *
 * Between the end of a server and the end of this process its id may have gone to somebody else's process, so before
 * each signal the shell looks whether the process still is one on our data folder: in /proc where there is one, since
 * slim containers come without ps.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

const SCRIPT = String.raw`
scratch=$1 data=$2 staging=$3
ours() {
  args=$({ tr '\000' ' ' <"/proc/$1/cmdline" || ps -ww -o args= -p "$1"; } 2>/dev/null)
  case "$args " in
    *" -D $data "* | *" -D $staging "*) return 0 ;;
  esac
  return 1
}
pid=
while read -r line; do
  [ "$line" = done ] && exit 0
  pid=$line
done
if [ -n "$pid" ]; then
  # SIGINT is PostgreSQL's fast shutdown; a frozen server first has to be woken to hear it.
  ours "$pid" && kill -INT "$pid" && kill -CONT "$pid"
  i=0
  while ours "$pid" && [ $i -lt 50 ]; do sleep 0.1; i=$((i + 1)); done
  ours "$pid" && kill -KILL "$pid"
fi
# The children of what was killed may go on writing for a moment.
rm -rf "$scratch" "$staging" || { sleep 1; rm -rf "$scratch" "$staging"; }
`;

export class Guard {
  readonly #shell: ChildProcess;

  constructor({ scratch, dataDir, staging }: { scratch: string; dataDir: string; staging: string }) {
    this.#shell = spawn("/bin/sh", ["-c", SCRIPT, "postgres-guard", scratch, dataDir, staging], {
      detached: true,
      cwd: "/",
      // As this process's user, not the server's: the folder lies in one where the server's user may remove nothing.
      stdio: ["pipe", "ignore", "ignore"],
    });
    // Without a shell the server still runs; only the cleaning up after a crash of this process is lost.
    this.#shell.once("error", () => undefined);
    this.#shell.stdin?.on("error", () => undefined);
    this.#shell.unref();
    (this.#shell.stdin as unknown as { unref?(): void } | null)?.unref?.();
  }

  /** From now on, this is the process to stop. */
  watch(child: ChildProcess): void {
    if (child.pid !== undefined) this.#shell.stdin?.write(`${child.pid}\n`);
  }

  /** Everything is cleaned up: the shell ends and touches nothing. */
  async end(): Promise<void> {
    const { pid, exitCode, signalCode, stdin } = this.#shell;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = once(this.#shell, "exit");
    this.#shell.ref();
    stdin?.end("done\n");
    await ended;
  }
}
