import type { Contender, Parameters } from "../harness/contender.ts";
import { numberField, textField } from "../harness/values.ts";
import { BLOB_BYTES, BLOBS, isBlob, isPartOfBlob } from "./blobs.ts";
import { runConcurrently } from "./concurrency.ts";
import { DOCUMENTS, isDocument } from "./documents.ts";
import { openHttpClient, type HttpClient } from "./http-clients.ts";

/** Does one request and says whether what came is right. */
type Work = (client: HttpClient, origin: string, index: number) => Promise<boolean>;

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const origin = textField(parameters, parameters["tls"] === true ? "tlsOrigin" : "plainOrigin");
  const callers = numberField(parameters, "callers");
  const client = await openHttpClient(name, numberField(parameters, "connections"), textField(parameters, "ca"));
  const work = workOf(textField(parameters, "body"), parameters["streamed"] === true);
  let right = 0;
  let wrong = 0;
  const task = async (index: number): Promise<void> => {
    if (await work(client, origin, index)) right++;
    else wrong++;
  };
  return {
    // One request of each caller, so that all connections are open: undici closes its own after 4 s without use, which
    // they may have been while the others had their turns.
    prepare: () => runConcurrently(callers, callers, task),
    async run(operations) {
      const before = right;
      await runConcurrently(operations, callers, task);
      return { right: right - before, wrong };
    },
    async close() {
      await client.close();
    },
  };
}

function workOf(body: string, streamed: boolean): Work {
  if (body === "json") return streamed ? streamedDocument : wholeDocument;
  return streamed ? streamedBlob : wholeBlob;
}

const wholeDocument: Work = async (client, origin, index) => {
  const id = index % DOCUMENTS;
  return isDocument(await client.json(`${origin}/documents/${id}`), id);
};

const streamedDocument: Work = async (client, origin, index) => {
  const id = index % DOCUMENTS;
  const chunks: Uint8Array[] = [];
  for await (const chunk of await client.stream(`${origin}/documents/${id}`)) chunks.push(chunk);
  const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  return isDocument(JSON.parse(text), id);
};

const wholeBlob: Work = async (client, origin, index) => {
  const id = index % BLOBS;
  return isBlob(await client.bytes(`${origin}/blobs/${id}`), id);
};

const streamedBlob: Work = async (client, origin, index) => {
  const id = index % BLOBS;
  let at = 0;
  let same = true;
  for await (const chunk of await client.stream(`${origin}/blobs/${id}`)) {
    same &&= isPartOfBlob(chunk, id, at);
    at += chunk.length;
  }
  return same && at === BLOB_BYTES;
};
