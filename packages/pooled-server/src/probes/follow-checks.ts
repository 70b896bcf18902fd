import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { HealthChecks } from "./health-checks.ts";

/** Brings the state in line with what the checks found last. Call it only while the server listens. */
export function followChecks(lifecycle: Lifecycle, checks: Pick<HealthChecks, "allKnown" | "failing">): void {
  // A start is over when everything has been looked at; later, a check that is new must not hide what the others say.
  if (lifecycle.state === "starting" && !checks.allKnown) return;
  const failing = checks.failing();
  if (failing.length === 0) lifecycle.to("ready");
  else lifecycle.to("degraded", `failing: ${failing.join(", ")}`);
}
