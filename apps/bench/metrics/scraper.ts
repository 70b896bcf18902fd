/** Scrapes when it is told to, in a process of its own: what reading the answer costs is none of the server's time. */
import { get } from "node:http";
import { text } from "node:stream/consumers";

/** What a scrape came to; lines and their sum are those of the benchmark's own metrics. */
export interface Answer {
  totalMs: number;
  bytes: number;
  lines: number;
  sum: number;
}

const [url = "", openMetrics] = process.argv.slice(2);
const headers = openMetrics === "true" ? { accept: "application/openmetrics-text;version=1.0.0" } : {};

process.on("disconnect", () => process.exit());
process.on("message", () => {
  const start = performance.now();
  get(`${url}/metrics`, { headers }, (response) => {
    void text(response).then((body) => {
      const totalMs = performance.now() - start;
      const samples = body.split("\n").filter((line) => line.startsWith("bench_"));
      const sum = samples.reduce((all, line) => all + Number(line.slice(line.lastIndexOf(" "))), 0);
      const answer: Answer = { totalMs, bytes: Buffer.byteLength(body), lines: samples.length, sum };
      process.send?.(answer);
    });
  });
});
