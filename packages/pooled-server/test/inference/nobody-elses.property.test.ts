import { request as httpRequest } from "node:http";
import * as fc from "fast-check";
import type { JsonObject } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gateway, stream, words } from "../support/inference.ts";

interface Asked {
  readonly tenant: string;
  readonly host: string;
  readonly body: JsonObject;
  readonly spaces: number;
}

const asked: fc.Arbitrary<Asked> = fc.record({
  tenant: fc.constantFrom("", "a", "b"),
  host: fc.constantFrom("one.example.com", "two.example.com"),
  body: fc.record({
    messages: fc.constantFrom("hi", "ho", ["hi"], { hi: 1 }),
    n: fc.constantFrom(1, undefined),
    seed: fc.constantFrom(1, 2, "1", null, undefined),
    stream: fc.constantFrom(true, false, undefined),
    user: fc.constantFrom("x", "y", undefined),
    cache: fc.constantFrom(undefined, { namespace: "n" }, { "no-cache": true }, { "no-store": true }, { ttl: 5 }),
  }),
  // The same body in the same text and in another one.
  spaces: fc.nat(1),
});

const ANY = new Set(["stream", "stream_options", "user", "cache"]);

/** What an answer must depend on, and on nothing else. */
const dueTo = ({ tenant, host, body }: Omit<Asked, "spaces">): string => {
  const rest = Object.entries(body).filter(([name]) => !ANY.has(name));
  return Buffer.from(JSON.stringify([tenant, host, Object.fromEntries(rest)])).toString("base64url");
};

test("whatever is asked, in whatever order and at once, everybody gets the answer to their own request", async () => {
  const { url } = await gateway(({ body, header }) => {
    const [tenant, host] = [header("authorization") ?? "", header("host") ?? ""];
    return stream(words(dueTo({ tenant, host, body })));
  });
  const send = ({ tenant, host, body, spaces }: Asked): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { host, ...(tenant === "" ? {} : { authorization: tenant }) };
      const request = httpRequest(url, { method: "POST", headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.on("end", () => resolve(text));
      });
      request.on("error", reject).end(JSON.stringify(body, null, spaces));
    });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(asked, { minLength: 1, maxLength: 8 }), { maxLength: 6 }), async (rounds) => {
      for (const round of rounds) {
        const answers = await Promise.all(round.map(send));
        for (const [i, one] of round.entries()) expect(answers[i]).toContain(`"${dueTo(one)}"`);
      }
    }),
    { numRuns: 100 },
  );
});
