import type { Contender, Parameters } from "../harness/contender.ts";
import { numberField, textField } from "../harness/values.ts";
import { runConcurrently } from "./concurrency.ts";
import { isDocument } from "./documents.ts";

interface ClientUnderTest {
  getJson(url: string): Promise<unknown>;
  close(): Promise<unknown>;
}

const IDS = 1000;

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const url = textField(parameters, "url");
  const concurrency = numberField(parameters, "concurrency");
  const client = await openClient(name, numberField(parameters, "connections"));
  return {
    async run(operations) {
      let documents = 0;
      let wrong = 0;
      await runConcurrently(operations, concurrency, async (index) => {
        const id = index % IDS;
        if (isDocument(await client.getJson(`${url}/documents/${id}`), id)) documents++;
        else wrong++;
      });
      return { documents, wrong };
    },
    async close() {
      await client.close();
    },
  };
}

/** Clients of so many connections to the one server, with all else as it comes. */
async function openClient(name: string, connections: number): Promise<ClientUnderTest> {
  switch (name) {
    case "@vg/pool-http": {
      const { HttpPool } = await import("@vg/pool-http");
      const pool = new HttpPool({ maxConnsPerHost: connections, maxIdleConnsPerHost: connections });
      return {
        async getJson(url) {
          const response = await pool.get(url);
          if (response.status !== 200) throw new Error(`status ${response.status}`);
          return await response.json();
        },
        close: () => pool.close(),
      };
    }
    case "undici request": {
      const { Agent, request } = await import("undici");
      const dispatcher = new Agent({ connections, pipelining: 1 });
      return {
        async getJson(url) {
          const { statusCode, body } = await request(url, { dispatcher });
          if (statusCode !== 200) throw new Error(`status ${statusCode}`);
          return await body.json();
        },
        close: () => dispatcher.close(),
      };
    }
    case "undici fetch": {
      const { Agent, fetch } = await import("undici");
      const dispatcher = new Agent({ connections, pipelining: 1 });
      return {
        async getJson(url) {
          const response = await fetch(url, { dispatcher });
          if (response.status !== 200) throw new Error(`status ${response.status}`);
          return await response.json();
        },
        close: () => dispatcher.close(),
      };
    }
    default:
      throw new Error(`no client ${name}`);
  }
}
