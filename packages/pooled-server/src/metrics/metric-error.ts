import { PooledServerError } from "../errors.ts";

/**
 * A metric that cannot be: a name that Prometheus refuses, a label that is reserved, a name that another metric has.
 * Thrown where a metric is registered, and by `child()` for labels that the metric does not have.
 */
export class MetricError extends PooledServerError {
  override readonly name = "MetricError";

  constructor(message: string, options?: ErrorOptions) {
    super("ERR_VG_SERVER_METRIC", message, options);
  }
}
