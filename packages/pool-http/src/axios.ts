/** `@vg/pool-http/axios`. Its types need axios, which is an optional peer; nothing here imports it. */
export { createAxiosAdapter } from "./faces/axios-adapter.ts";
export type { AxiosParts, AxiosPoolRequest } from "./faces/axios-adapter.ts";
