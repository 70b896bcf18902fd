/** The guide's advice on a cache: more than 80 % hits (below 50 % something is wrong), few evictions, bounded memory. */
import { frozen, judge, rounded, unclear, type Finding, type Verdict } from "./finding.ts";
import { lastOf, rises, type CacheFigures, type SampleWindow } from "./sample.ts";

type Subject = "inference_cache" | "embedding_cache";

const HIT_RATE = { bad: 0.8, fine: 0.82 };
const POOR_HIT_RATE = 0.5;
const EVICTION_SHARE = { bad: 0.1, fine: 0.05 };
const FILL = { bad: 0.9, fine: 0.85 };
/** Of the heap's limit, for a cache that has none of its own. */
const HEAP_SHARE = { bad: 0.25, fine: 0.2 };
const MIN_LOOKUPS = 100;
const MIN_ENTRIES = 10;

const OPTIONS = { inference_cache: "inferenceCache", embedding_cache: "embeddingCache" } as const;

export function cacheVerdicts(subject: Subject, window: SampleWindow): Verdict[] {
  const before = window[0].caches[subject];
  const after = lastOf(window).caches[subject];
  const rise = rises(before, after, "hits", "misses", "evictions", "evictions_bytes", "expirations");
  const size = sizeVerdict(subject, after, lastOf(window).heapLimitMb);
  if (rise === undefined) return [...unclear(subject, "cache_hit_rate", "cache_evictions"), size];
  return [hitRate(subject, after, rise), evictions(subject, after, rise), size];
}

type Rise = Record<"hits" | "misses" | "evictions" | "evictions_bytes" | "expirations", number>;

function verdict(subject: Subject, state: Verdict["state"], finding: Omit<Finding, "subject">): Verdict {
  return { id: finding.id, subject, state, finding: frozen({ ...finding, subject }) };
}

function hitRate(subject: Subject, { entries, capacity }: CacheFigures, rise: Rise): Verdict {
  const lookups = rise.hits + rise.misses;
  if (lookups < MIN_LOOKUPS) return { id: "cache_hit_rate", subject, state: "unclear" };
  const rate = rise.hits / lookups;
  const name = OPTIONS[subject];
  // Misses that come of entries which had to leave, or were over, and might have been hits.
  const [setting, advice] =
    rise.evictions >= rise.misses / 10
      ? [`${name}Capacity`, `Live entries are evicted: raise ${name}Capacity (or ${name}MaxBytes, where that is set).`]
      : rise.expirations >= rise.misses / 10
        ? [
            `${name}TtlMs`,
            `Entries expire before they are asked for again: raise ${name}TtlMs for what stays true for longer.`,
          ]
        : [
            `${name}TtlMs`,
            "Neither room nor time is short: the keys differ from request to request. Look at what is in them.",
          ];
  return verdict(subject, judge(rate, HIT_RATE), {
    id: "cache_hit_rate",
    severity: rate < POOR_HIT_RATE ? "warn" : "info",
    title: `${rounded(rate * 100)} % of look-ups are hits; above 80 % is good${rate < POOR_HIT_RATE ? ", below 50 % is poor" : ""}`,
    evidence: {
      hit_rate: rounded(rate),
      lookups,
      evictions: rise.evictions,
      expirations: rise.expirations,
      entries,
      capacity,
    },
    setting,
    advice,
  });
}

function evictions(subject: Subject, { entries, capacity }: CacheFigures, rise: Rise): Verdict {
  if (entries < MIN_ENTRIES)
    return { id: "cache_evictions", subject, state: rise.evictions === 0 ? "fine" : "unclear" };
  const share = rise.evictions / entries;
  const name = OPTIONS[subject];
  const byBytes = rise.evictions_bytes > rise.evictions / 2;
  const setting = byBytes ? `${name}MaxBytes` : `${name}Capacity`;
  return verdict(subject, judge(share, EVICTION_SHARE), {
    id: "cache_evictions",
    severity: "warn",
    title: `${rise.evictions} live entries were evicted, ${rounded(share * 100)} % of the ${entries} that there are; below 10 % is good`,
    evidence: {
      evictions: rise.evictions,
      evictions_bytes: rise.evictions_bytes,
      eviction_share: rounded(share),
      entries,
      capacity,
    },
    setting,
    advice: `Raise ${setting} if there is memory for it; else store less, or for a shorter time.`,
  });
}

function sizeVerdict(subject: Subject, figures: CacheFigures, heapLimitMb: number): Verdict {
  const { total_size_mb: sizeMb, max_size_mb: maxMb, entries } = figures;
  const name = OPTIONS[subject];
  const hasLimit = maxMb > 0;
  const limitMb = hasLimit ? maxMb : heapLimitMb;
  if (!(limitMb > 0)) return { id: "cache_size", subject, state: "unclear" };
  const share = sizeMb / limitMb;
  return verdict(subject, judge(share, hasLimit ? FILL : HEAP_SHARE), {
    id: "cache_size",
    severity: hasLimit ? "info" : "warn",
    title: hasLimit
      ? `The cache holds ${rounded(sizeMb)} MiB of the ${rounded(maxMb)} that it may`
      : `The cache holds ${rounded(sizeMb)} MiB, ${rounded(share * 100)} % of what the heap may, and has no limit`,
    evidence: { size_mb: rounded(sizeMb), limit_mb: rounded(limitMb), size_share: rounded(share), entries },
    setting: `${name}MaxBytes`,
    advice: hasLimit
      ? `Raise ${name}MaxBytes if entries are evicted that are missed; the cache is as full as it may be.`
      : `Set ${name}MaxBytes, lower ${name}Capacity, or let entries live for a shorter time (${name}TtlMs).`,
  });
}
