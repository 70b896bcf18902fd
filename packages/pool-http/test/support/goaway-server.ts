/** A process of its own for a fault server that says GOAWAY at "/ga": should it abort, its parent lives to tell. */
import { byPath, goAway, reply, startFaultServer } from "../../src/testing.ts";

const [, , protocol, which] = process.argv;
const server = await startFaultServer({
  protocol: protocol === "h2" ? "h2" : "h2c",
  requests: byPath({
    "/ga": which === "excluded" ? goAway({ includingThis: true }) : [goAway(), reply(200)],
    "*": reply(200),
  }),
});
process.once("message", () => void server.close().finally(() => process.disconnect()));
process.send?.({ url: server.url, ca: server.ca });
