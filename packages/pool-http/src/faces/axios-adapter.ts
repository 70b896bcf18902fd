/**
 * axios over the pool: `axios.create({ adapter: createAxiosAdapter(pool, axios) })`. axios keeps its part (its
 * transforms, interceptors, `validateStatus`, its errors), the pool does the sending: connections, deadline, retries.
 */
import { pipeline, Readable } from "node:stream";
import type { AxiosAdapter, AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from "axios";
import { decodeBody, decodeStreams, parseEncoding } from "../exchange/decode.ts";
import type { HttpRequest } from "../exchange/request.ts";
import type { HttpPool } from "../http-pool.ts";
import type { HttpResponse } from "../response.ts";
import { axiosBody, countedBody, isIterable, limited, sizeOf, through } from "./axios-body.ts";
import { axiosErrorCode } from "./axios-error.ts";
import { axiosHeaders } from "./axios-headers.ts";
import { isLimit, tooLong } from "./axios-limits.ts";
import { AxiosProgress } from "./axios-progress.ts";

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
/** As much as a pool takes by default. */
const MAX_INFLATED_BYTES = 104_857_600;

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
    let layers: readonly string[] | undefined;
    const { signal, letGo } = signalOf(config);
    try {
      const given = poolRequest(config, method, url, fail);
      if (signal !== undefined) given.signal = signal;
      sent = await pool.do(given);
      request = { ...request, res: { responseUrl: sent.url } };
      layers = layersLeft(sent, config, method);
      data = await readBody(sent, layers, config, fail);
      if (data instanceof Readable) data.once("close", letGo);
      else letGo();
    } catch (error) {
      letGo();
      // axios makes its own error of a cancellation, whatever it gets here.
      if (isAborted(config)) throw error;
      // A limit of axios's was passed.
      const own = [error, (error as Error).cause].find((one) => one instanceof axios.AxiosError);
      if (own !== undefined) throw own;
      const { code, message } = axiosErrorCode(error, config);
      throw Object.assign(fail(message, code), { cause: error });
    }
    const response: AxiosResponse = {
      data,
      status: sent.status,
      statusText: sent.statusText,
      headers: headersOf(sent, layers !== undefined),
      config,
      request,
    };
    const { validateStatus } = config;
    if (typeof validateStatus !== "function" || validateStatus(sent.status)) return response;
    const code = sent.status >= 400 && sent.status < 500 ? "ERR_BAD_REQUEST" : "ERR_BAD_RESPONSE";
    throw fail(`Request failed with status code ${sent.status}`, code, response);
  };
}

type Fail = (message: string, code: string) => Error;

function poolRequest(config: InternalAxiosRequestConfig, method: string, url: string, fail: Fail): HttpRequest {
  const { timeout, maxRedirects, maxContentLength, maxBodyLength, onUploadProgress } = config;
  const { body, type } = limitedBody(axiosBody(config.data), maxBodyLength, fail);
  const request: HttpRequest = { method, url, headers: axiosHeaders(config, type), stream: streams(config) };
  if (body !== undefined) request.body = onUploadProgress ? countedBody(body, onUploadProgress) : body;
  if (timeout !== undefined && timeout > 0) request.timeoutMs = timeout;
  if (maxRedirects !== undefined) request.maxRedirects = Math.min(maxRedirects, MAX_REDIRECTS);
  // A limit of 0 is looked at when the body is there.
  if (isLimit(maxContentLength)) request.maxResponseBytes = Math.max(1, maxContentLength);
  return request;
}

function limitedBody(
  given: ReturnType<typeof axiosBody>,
  maxBytes: number | undefined,
  fail: Fail,
): ReturnType<typeof axiosBody> {
  if (given.body === undefined || !isLimit(maxBytes)) return given;
  const { body } = given;
  const size = sizeOf(body);
  const exceeded = (code: string): Error => fail("Request body larger than maxBodyLength limit", code);
  if (size !== undefined && size > maxBytes) throw exceeded("ERR_BAD_REQUEST");
  if (!isIterable(body)) return given;
  return { ...given, body: limited(body, maxBytes, () => exceeded("ERR_FR_MAX_BODY_LENGTH_EXCEEDED")) };
}

/** Whether the body is wanted as it comes. Otherwise the pool reads it, and can retry what breaks off. */
function streams(config: InternalAxiosRequestConfig): boolean {
  return config.responseType === "stream" || typeof config.onDownloadProgress === "function";
}

/** What axios hands out as `data`, before its own transforms. */
async function readBody(
  response: HttpResponse,
  layers: readonly string[] | undefined,
  config: InternalAxiosRequestConfig,
  fail: Fail,
): Promise<unknown> {
  const { responseType, onDownloadProgress, maxContentLength } = config;
  const length = response.header("content-length");
  const progress = onDownloadProgress
    ? new AxiosProgress(onDownloadProgress, length === undefined ? undefined : Number(length), "download")
    : undefined;
  const exceeded = (): Error => fail(tooLong(config), "ERR_BAD_RESPONSE");
  if (responseType !== "stream") {
    const raw = await response.bytes(progress && ((size) => progress.took(size)));
    progress?.end();
    const limit = isLimit(maxContentLength) ? maxContentLength : MAX_INFLATED_BYTES;
    const bytes = layers === undefined ? raw : await decodeBody(Buffer.from(raw), layers, Math.max(1, limit));
    if (!(bytes instanceof Uint8Array)) throw fail(bytes.detail, "ERR_BAD_RESPONSE");
    if (maxContentLength === 0 && bytes.length > 0) throw exceeded();
    return convert(Buffer.from(bytes), response, config);
  }
  let { body } = response;
  if (progress !== undefined) {
    body = through(
      body,
      (size) => progress.took(size),
      () => progress.end(),
    );
  }
  for (const transform of layers === undefined ? [] : decodeStreams(layers)) body = pipeline(body, transform, () => {});
  return isLimit(maxContentLength) ? limited(body, maxContentLength, exceeded) : body;
}

/**
 * The encodings that are left to undo. The pool leaves those that the caller has asked for by a header of its own; axios
 * undoes all but with `decompress: false`.
 */
function layersLeft(
  { status, headers }: HttpResponse,
  { decompress, headers: asked }: InternalAxiosRequestConfig,
  method: string,
): readonly string[] | undefined {
  if (decompress === false || method === "HEAD" || status === 206 || !asked.has("accept-encoding")) return undefined;
  const encoding = headers["content-encoding"];
  return typeof encoding === "string" ? parseEncoding(encoding) : undefined;
}

function headersOf({ headers }: HttpResponse, decoded: boolean): AxiosResponse["headers"] {
  const copy = { ...headers } as Record<string, string>;
  // They describe the body on the wire.
  if (decoded) {
    delete copy["content-encoding"];
    delete copy["content-length"];
  }
  return copy;
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

/** The signal of both, and how to let a token go, which may live longer than the request and would keep it. */
function signalOf({ signal, cancelToken }: InternalAxiosRequestConfig): { signal?: AbortSignal; letGo: () => void } {
  const token = cancelToken as { toAbortSignal?: () => AbortSignal & { unsubscribe?: () => void } } | undefined;
  const ofToken = token?.toAbortSignal?.();
  const signals = [signal as AbortSignal | undefined, ofToken].filter((one) => one !== undefined);
  const [first] = signals;
  const letGo = (): void => ofToken?.unsubscribe?.();
  if (first === undefined) return { letGo };
  return { signal: signals.length === 1 ? first : AbortSignal.any(signals), letGo };
}

function isAborted({ signal, cancelToken }: InternalAxiosRequestConfig): boolean {
  return signal?.aborted === true || cancelToken?.reason !== undefined;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== false;
}
