export { accessLog } from "./access-log/access-log.ts";
export type { AccessLog, AccessLogStats } from "./access-log/access-log.ts";
export type { AccessExchange, AccessLogOptions } from "./access-log/options.ts";
export type { ExpressErrorMiddleware, ExpressMiddleware } from "./access-log/express.ts";
export type { FastifyPlugin } from "./access-log/fastify.ts";
export type { HonoContext, HonoMiddleware } from "./access-log/hono.ts";
export type { NodeListener, NodeRequest, NodeResponse, NodeServer } from "./access-log/node-http.ts";
