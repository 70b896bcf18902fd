/** A sample's value, as both formats have it. */
export function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  // Types say number; what comes in its place shall cost no more than its own line.
  return String(typeof value === "number" ? value : Number(value));
}

/**
 * A bound or a quantile as OpenMetrics spells it: `1.0`, `0.25`, `1e+06`. The text format allows any spelling, and has
 * this one too: else a series would change its identity with the format that the scraper asks for.
 */
export function canonicalFloat(value: number): string {
  if (!Number.isFinite(value)) return numberText(value);
  const [mantissa = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 6) {
    return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
