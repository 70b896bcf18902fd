import { MODELS } from "../models/catalogue.ts";
import type { Call } from "./call.ts";
import { sendJson } from "./http.ts";

/** The catalogue is as old as the process. */
const created = Math.floor(Date.now() / 1000);

/** GET /v2/models and /v1/models. */
export async function handleModels({ response, dialect, parts }: Call): Promise<void> {
  if (dialect === "v1") {
    const data = MODELS.map(({ id }) => ({ id, object: "model", created, owned_by: "vg-demo" }));
    sendJson(response, 200, { object: "list", data });
    return;
  }
  const data = MODELS.map((model) => ({ ...model, object: "model", owned_by: "vg-demo", backend: parts.backendType }));
  sendJson(response, 200, { object: "list", version: "v2", count: data.length, data });
}
