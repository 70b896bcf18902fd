/**
 * axios over the pool: `axios.create({ adapter: createAxiosAdapter(pool, axios) })`. axios keeps its part (its
 * transforms, interceptors, `validateStatus`, its errors), the pool does the sending: connections, deadline, retries.
 */
import { pipeline, Transform, type Readable } from "node:stream";
import type { AxiosAdapter, AxiosProgressEvent, AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from "axios";
import type { HttpBody } from "../exchange/request-body.ts";
import type { HttpRequest } from "../exchange/request.ts";
import type { HttpPool } from "../http-pool.ts";
import type { HttpResponse } from "../response.ts";
import { axiosBody, countedBody } from "./axios-body.ts";
import { axiosErrorCode } from "./axios-error.ts";
import { axiosHeaders } from "./axios-headers.ts";

/** What of axios is needed to speak its language; `axios` itself has it. Passed in, so that nothing here imports axios. */
export type AxiosParts = Pick<AxiosStatic, "Axios" | "AxiosError">;

/** `error.request` and `response.request`. */
export interface AxiosPoolRequest {
  readonly method: string;
  readonly url: string;
  /** Where axios's own Node adapter has the final URL, after redirects. */
  readonly res?: { readonly responseUrl: string } | undefined;
}

/** Settings of axios whose part the pool plays. */
const POOL_OWNED = [
  "httpAgent",
  "httpsAgent",
  "proxy",
  "socketPath",
  "lookup",
  "transport",
  "beforeRedirect",
  "maxRate",
];
const MAX_REDIRECTS = 100;

/**
 * Makes an adapter for axios. Settings that would work around the pool (`httpAgent`, `proxy`, `lookup`, ...) are refused
 * with ERR_NOT_SUPPORT. `timeout` is the deadline of the whole request, retries included; 0, axios's default, is the pool's.
 */
export function createAxiosAdapter(pool: HttpPool, axios: AxiosParts): AxiosAdapter {
  const urls = new axios.Axios({});
  return async (config) => {
    const method = (config.method ?? "get").toUpperCase();
    const url = urls.getUri(config);
    let request: AxiosPoolRequest = { method, url };
    const fail = (message: string, code: string, response?: AxiosResponse): Error =>
      new axios.AxiosError(message, code, config, request, response);
    const owned = POOL_OWNED.find((name) => isSet(config[name as keyof InternalAxiosRequestConfig]));
    if (owned !== undefined)
      throw fail(`${owned} is the pool's business: set it where the pool is made`, "ERR_NOT_SUPPORT");

    let sent: HttpResponse;
    let data: unknown;
    try {
      sent = await pool.do(poolRequest(config, method, url));
      request = { ...request, res: { responseUrl: sent.url } };
      data = await readBody(sent, config);
    } catch (error) {
      // axios makes its own error of a cancellation, whatever it gets here.
      if (isAborted(config)) throw error;
      const { code, message } = axiosErrorCode(error, config);
      throw Object.assign(fail(message, code), { cause: error });
    }
    const response: AxiosResponse = {
      data,
      status: sent.status,
      statusText: sent.statusText,
      headers: { ...sent.headers } as AxiosResponse["headers"],
      config,
      request,
    };
    const { validateStatus } = config;
    if (typeof validateStatus !== "function" || validateStatus(sent.status)) return response;
    const code = sent.status >= 400 && sent.status < 500 ? "ERR_BAD_REQUEST" : "ERR_BAD_RESPONSE";
    throw fail(`Request failed with status code ${sent.status}`, code, response);
  };
}

function poolRequest(config: InternalAxiosRequestConfig, method: string, url: string): HttpRequest {
  const { timeout, maxRedirects, maxContentLength, onUploadProgress } = config;
  const { body, type } = axiosBody(config.data);
  const signal = signalOf(config);
  const request: HttpRequest = { method, url, headers: axiosHeaders(config, type), stream: streams(config) };
  if (body !== undefined) request.body = onUploadProgress ? counted(body, onUploadProgress) : body;
  if (signal !== undefined) request.signal = signal;
  if (timeout !== undefined && timeout > 0) request.timeoutMs = timeout;
  if (maxRedirects !== undefined) request.maxRedirects = Math.min(maxRedirects, MAX_REDIRECTS);
  if (maxContentLength !== undefined && maxContentLength > 0) request.maxResponseBytes = maxContentLength;
  return request;
}

/** Whether the body is wanted as it comes. Otherwise the pool reads it, and can retry what breaks off. */
function streams(config: InternalAxiosRequestConfig): boolean {
  return config.responseType === "stream" || typeof config.onDownloadProgress === "function";
}

async function readBody(response: HttpResponse, config: InternalAxiosRequestConfig): Promise<unknown> {
  const { responseType, onDownloadProgress } = config;
  if (!onDownloadProgress) {
    return responseType === "stream" ? response.body : convert(Buffer.from(await response.bytes()), response, config);
  }
  const total = Number(response.header("content-length") ?? Number.NaN);
  const progress = progressOf(onDownloadProgress, Number.isNaN(total) ? undefined : total, "download");
  if (responseType === "stream") return withProgress(response.body, progress);
  const chunks: Buffer[] = [];
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    progress(chunk.length);
    chunks.push(chunk);
  }
  return convert(Buffer.concat(chunks), response, config);
}

function withProgress(body: Readable, progress: (bytes: number) => void): Readable {
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      progress(chunk.length);
      done(null, chunk);
    },
  });
  // What fails on either side ends the other; whoever reads it hears of it.
  return pipeline(body, counter, () => {});
}

function convert(
  bytes: Buffer,
  response: HttpResponse,
  { responseType, responseEncoding }: InternalAxiosRequestConfig,
): unknown {
  if (responseType === "arraybuffer") return bytes;
  if (responseType === "blob")
    return new Blob([new Uint8Array(bytes)], { type: response.header("content-type") ?? "" });
  const encoding = (responseEncoding ?? "utf8") as BufferEncoding;
  const text = bytes.toString(encoding);
  return /^utf-?8$/i.test(encoding) && text.codePointAt(0) === 0xfeff ? text.slice(1) : text;
}

function counted(body: HttpBody, listener: (event: AxiosProgressEvent) => void): HttpBody {
  const { body: source, total } = countedBody(body, (bytes) => progress(bytes));
  const progress = progressOf(listener, total, "upload");
  return source;
}

function progressOf(
  listener: (event: AxiosProgressEvent) => void,
  total: number | undefined,
  direction: "download" | "upload",
): (bytes: number) => void {
  let loaded = 0;
  return (bytes) => {
    loaded += bytes;
    listener({
      loaded,
      total,
      progress: total === undefined || total === 0 ? undefined : loaded / total,
      bytes,
      lengthComputable: total !== undefined,
      [direction]: true,
    } as AxiosProgressEvent);
  };
}

function signalOf({ signal, cancelToken }: InternalAxiosRequestConfig): AbortSignal | undefined {
  const token = cancelToken as { toAbortSignal?: () => AbortSignal } | undefined;
  const signals = [signal as AbortSignal | undefined, token?.toAbortSignal?.()].filter((one) => one !== undefined);
  return signals.length < 2 ? signals[0] : AbortSignal.any(signals);
}

function isAborted({ signal, cancelToken }: InternalAxiosRequestConfig): boolean {
  return signal?.aborted === true || cancelToken?.reason !== undefined;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}
