/** A server of small JSON documents, over HTTPS, that counts the connections that are made to it. */
import { createServer } from "node:https";
import { numberField } from "../harness/values.ts";
import { documentOf } from "./documents.ts";

type Message = { type: "listen"; tls: { key: string; cert: string } } | { type: "count" };

let connections = 0;

process.on("disconnect", () => process.exit(0));
process.on("message", (message: Message) => {
  if (message.type === "count") {
    process.send?.({ connections });
    return;
  }
  const server = createServer(message.tls, (request, response) => {
    const id = /^\/documents\/(\d+)$/.exec(request.url ?? "")?.[1];
    if (id === undefined) {
      response.writeHead(404).end();
      return;
    }
    const body = documentOf(Number(id));
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  });
  server.keepAliveTimeout = 60_000;
  server.on("connection", () => connections++);
  server.listen(0, "127.0.0.1", () => process.send?.({ port: numberField(server.address(), "port") }));
});
