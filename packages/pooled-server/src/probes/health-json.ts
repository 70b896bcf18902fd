import type { CheckResult } from "./background-check.ts";
import type { HealthDocument } from "./health-document.ts";

export const HEALTH_JSON = "application/health+json";

const STATUS = { ok: "pass", degraded: "warn", starting: "fail", draining: "fail", closed: "fail" } as const;

/**
 * The same document in the words of draft-inadarei-api-health-check-06: `status` is pass, warn or fail, a check is a list
 * under "name:what". The draft lets a document have more members, so the others are as they are.
 */
export function healthJson(health: HealthDocument): Record<string, unknown> {
  const { version, service, checks } = health;
  return {
    ...health,
    status: STATUS[health.status],
    version,
    releaseId: version,
    serviceId: service.name,
    checks: Object.fromEntries(
      Object.entries(checks).map(([name, result]) => [`${name}:responseTime`, [checkJson(result)]]),
    ),
  };
}

function checkJson({ status, critical, latency_ms, time, output }: CheckResult): Record<string, unknown> {
  return {
    componentType: "component",
    observedValue: latency_ms,
    observedUnit: "ms",
    // One that is not critical leaves the service usable.
    status: status === "fail" && !critical ? "warn" : status === "pending" ? "warn" : status,
    ...(time === undefined ? {} : { time }),
    ...(output === undefined ? {} : { output }),
  };
}

/** Whether the client asks for the draft's media type, and for nothing that suits it better. */
export function wantsHealthJson(accept: string | undefined): boolean {
  if (accept === undefined || !accept.includes(HEALTH_JSON)) return false;
  const quality = (type: string): number => {
    for (const part of accept.split(",")) {
      const [name, ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
      if (name !== type) continue;
      const q = parameters.find((parameter) => parameter.startsWith("q="));
      return q === undefined ? 1 : Number(q.slice(2)) || 0;
    }
    return 0;
  };
  const asked = quality(HEALTH_JSON);
  return asked > 0 && asked >= quality("application/json");
}
