/**
 * That a log call takes time in proportion to the limits, and to the text that they let in, whatever it is given:
 *
 *     node --conditions=@vg/source packages/logging/long/hostile-times.ts
 *
 * Each hostile text is logged at two lengths. A pattern that tries every pair of places takes sixteen times as long for
 * four times the text; what is linear, four times. Fails with exit code 1.
 */
import { createLogger, type LoggerConfig } from "@vg/logging";

/** Made to be repeated; with each, some careless pattern or loop would go back over what it has seen. */
const PIECES = [
  ...'@://a:|://a:@|://a:"|://:@ |password:|password: \'|password=\'\\\'|cookie:\'"|password":[|password":{"|password\\'.split(
    "|",
  ),
  ..."token:a|cookie\t|authorization:token |-----BEGIN A|---- BEGIN PRIVATE KEY ----|d |'|://a:|token=|secret |a-a-|Bearer ".split(
    "|",
  ),
  ...'"password":"|-----BEGIN PRIVATE KEY-----|\\"|x=\' |eyJ|-eyJ|eyJaaaaaaaa.|eyJaaaaaaaa.eyJaaaaaaaa |\\neyJaaaaaaaa'.split(
    "|",
  ),
  ..."%3DeyJaaaaaaaa|sk-|sk-proj-|sk-a|_sk-proj-|ghp_|ghp_a|github_pat_|xoxb-|xapp-1-|AKIA|AIza|SG.|SG.aaaaaaaaaaaaaaaaaaaa.".split(
    "|",
  ),
  ..."ya29.|hvs.|npm_aaaa|hf_|?sig=|&sig|;otp=;|?x-amz-signature|&jwt=&|a|-|_|aaaaaaaaaaaaaaaa |\\n|%3D|\u2028|\ud800|\u0000".split(
    "|",
  ),
  ..."cookie=a;|cookie=a=\"|cookie=a=b; |; a|secret:[|secret:['|secret=> |password :=|'password' => |secret={'\\|://a@|://a@b:|hooks.slack.com/services/".split(
    "|",
  ),
];
const LENGTHS = [250_000, 1_000_000];
/** The longer takes this many times as long at most: four, and room for a busy machine; a square would be sixteen. */
const GROWTH = 9;
/** What takes less can't be a square, of which a million is 10^12; other programs and the garbage of the text make up most. */
const NOISE_MS = 150;

let failures = 0;

function timeOf(config: LoggerConfig, log: (logger: ReturnType<typeof createLogger>) => void): number {
  const logger = createLogger({ ...config, destination: { write: () => undefined } });
  let best = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    log(logger);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

const roomy: LoggerConfig = { maxStringLength: 2_000_000, maxLineBytes: 16_000_000 };
for (const piece of PIECES) {
  for (const suffix of ["", piece.slice(-1).repeat(1000)]) {
    const [short = 0, long = 0] = LENGTHS.map((length) => {
      const text = piece.repeat(length / piece.length) + suffix;
      return timeOf(roomy, (logger) => logger.info(text));
    });
    if (long > NOISE_MS && long > short * GROWTH) {
      failures++;
      console.error(`${JSON.stringify(piece)}: ${short.toFixed(1)} ms, four times as long ${long.toFixed(1)} ms`);
    }
  }
}

const many = (count: number): Record<string, unknown> => {
  const object: Record<string, unknown> = {};
  for (let i = 0; i < count; i++) object[`k${i}`] = undefined;
  return object;
};
let grown: object = {};
for (let i = 0; i < 40; i++) grown = { l: grown, r: grown, m: [grown, grown] };
const lists = Array.from({ length: 200 }, () =>
  Array.from({ length: 200 }, () => Array.from({ length: 200 }).fill(null)),
);

/** With the default limits, the longest that a call may take; what the value itself does in its getters comes on top. */
const HUGE: Record<string, { value: unknown; withinMs: number }> = {
  "a text of 100 MB": { value: "x ".repeat(50_000_000), withinMs: 100 },
  "a list of ten million": { value: Array.from({ length: 10_000_000 }).fill("x"), withinMs: 20 },
  "a map of a million": { value: new Map(Array.from({ length: 1_000_000 }, (_, i) => [`k${i}`, i])), withinMs: 20 },
  "a set of a million": { value: new Set(Array.from({ length: 1_000_000 }, (_, i) => i)), withinMs: 20 },
  "a buffer of 500 MB": { value: Buffer.alloc(500_000_000), withinMs: 20 },
  "a tree that doubles forty times": { value: grown, withinMs: 100 },
  "eight million empty places": { value: lists, withinMs: 100 },
  "a bigint of a million digits": { value: 10n ** 1_000_000n, withinMs: 20 },
  "200 texts of 16 KiB": { value: Array.from({ length: 200 }, () => "password=' ".repeat(1500)), withinMs: 100 },
  // Nobody can ask an object for a part of its names.
  "a hundred thousand names": { value: many(100_000), withinMs: 300 },
};
for (const [name, { value, withinMs }] of Object.entries(HUGE)) {
  const took = timeOf({}, (logger) => logger.info("m", { value }));
  console.log(`${name}: ${took.toFixed(1)} ms`);
  if (took <= withinMs) continue;
  failures++;
  console.error(`${name}: ${took.toFixed(1)} ms, allowed are ${withinMs}`);
}

if (failures > 0) process.exitCode = 1;
else console.log(`${PIECES.length} hostile texts take time in proportion to their length`);
