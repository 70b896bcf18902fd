import fc from "fast-check";
import { expect, test } from "vitest";
import { acceptsGzip, negotiateFormat, OPEN_METRICS, TEXT } from "../src/metrics/negotiation.ts";

const OM = "application/openmetrics-text";

test.each([
  ["nothing", undefined, TEXT.contentType],
  ["an empty header", "", TEXT.contentType],
  ["curl", "*/*", TEXT.contentType],
  ["a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", TEXT.contentType],
  ["something else", "application/json", TEXT.contentType],
  ["any application", "application/*", TEXT.contentType],
  [
    "Prometheus 2.42",
    `${OM};version=1.0.0,${OM};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`,
    OPEN_METRICS.contentType,
  ],
  [
    "Prometheus 3",
    `${OM};version=1.0.0;escaping=allow-utf-8;q=0.6,${OM};version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2`,
    `${OPEN_METRICS.contentType}; escaping=allow-utf-8`,
  ],
  [
    "Prometheus 3 that does not want UTF-8",
    `${OM};version=1.0.0;escaping=underscores;q=0.5,text/plain;version=0.0.4;q=0.3`,
    `${OPEN_METRICS.contentType}; escaping=underscores`,
  ],
  [
    "a scheme that would change names",
    `${OM};version=1.0.0;escaping=dots`,
    `${OPEN_METRICS.contentType}; escaping=underscores`,
  ],
  [
    "a Prometheus before 2.5",
    `${OM}; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`,
    `${OM}; version=0.0.1; charset=utf-8`,
  ],
  ["OpenMetrics without a version", OM, OPEN_METRICS.contentType],
  ["in quotes and capitals", `APPLICATION/OpenMetrics-Text; Version="1.0.0"; Q="0.5"`, OPEN_METRICS.contentType],
  ["a version of OpenMetrics that there is not", `${OM};version=2.0.0`, TEXT.contentType],
  ["text rather", `${OM};q=0.4,text/plain;q=0.5`, TEXT.contentType],
  ["text first, alike", `text/plain,${OM}`, TEXT.contentType],
  ["OpenMetrics first, alike", `${OM},text/plain`, OPEN_METRICS.contentType],
  ["anything rather", `${OM};q=0.5,*/*;q=0.8`, TEXT.contentType],
  ["OpenMetrics or anything, alike", `*/*,${OM}`, OPEN_METRICS.contentType],
  ["no OpenMetrics", `${OM};q=0,*/*`, TEXT.contentType],
  ["no text", `text/plain;q=0,${OM};q=0.1`, OPEN_METRICS.contentType],
  [
    "text with an escaping",
    "text/plain;version=0.0.4;escaping=underscores",
    `${TEXT.contentType}; escaping=underscores`,
  ],
  ["a comma in quotes", `text/plain;x=",${OM},"`, TEXT.contentType],
  ["a q that is no number", `${OM};q=high`, OPEN_METRICS.contentType],
])("%s", (_who, accept, contentType) => {
  expect(negotiateFormat(accept).contentType).toBe(contentType);
});

test("whatever the header, there is an answer, and its type fits its format", () => {
  const piece = fc.constantFrom(OM, "text/plain", "*/*", ";", ",", "q=", "q=0.5", "version=1.0.0", '"', "\\", "=", " ");
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((pieces) => pieces.join("")),
      ),
      (accept) => {
        const { openMetrics, contentType } = negotiateFormat(accept);
        expect(contentType.startsWith(openMetrics ? OM : "text/plain; version=0.0.4")).toBe(true);
        expect(typeof acceptsGzip(accept)).toBe("boolean");
      },
    ),
  );
});

test.each([
  [undefined, false],
  ["", false],
  ["identity", false],
  ["gzip", true],
  ["gzip;q=0", false],
  ["deflate, gzip;q=0.5, br", true],
  ["gzip;q=0.2, identity;q=0.8", false],
  ["*", true],
  ["*;q=0", false],
  ["br", false],
])("gzip for Accept-Encoding %j: %s", (header, expected) => {
  expect(acceptsGzip(header)).toBe(expected);
});
