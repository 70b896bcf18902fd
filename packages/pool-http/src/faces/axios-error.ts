import type { InternalAxiosRequestConfig } from "axios";
import { codeOf } from "../failure.ts";
import { isLimit, tooLong } from "./axios-limits.ts";

/** What axios's own Node adapter would say of a failure of the pool. The errors are told apart by their stable code. */
export function axiosErrorCode(error: unknown, config: InternalAxiosRequestConfig): { code: string; message: string } {
  const { message, cause } = error as Error;
  switch (codeOf(error)) {
    case "ERR_VG_HTTP_TIMEOUT": {
      const { timeout, timeoutErrorMessage, transitional } = config;
      const code = transitional?.clarifyTimeoutError === true ? "ETIMEDOUT" : "ECONNABORTED";
      const own = timeout !== undefined && timeout > 0 && (error as { limit?: unknown }).limit === "timeoutMs";
      return { code, message: timeoutErrorMessage ?? (own ? `timeout of ${timeout}ms exceeded` : message) };
    }
    case "ERR_VG_HTTP_REDIRECT":
      return { code: "ERR_FR_TOO_MANY_REDIRECTS", message };
    case "ERR_VG_HTTP_BODY_TOO_LARGE":
      return { code: "ERR_BAD_RESPONSE", message: isLimit(config.maxContentLength) ? tooLong(config) : message };
    case "ERR_VG_HTTP_REQUEST":
      return { code: codeOf(cause) ?? "ERR_BAD_OPTION_VALUE", message };
    default:
      // ECONNREFUSED, ENOTFOUND, ECONNRESET, ...: as the system says it.
      return { code: codeOf(cause) ?? "ERR_NETWORK", message };
  }
}
