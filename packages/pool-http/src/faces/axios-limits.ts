import type { InternalAxiosRequestConfig } from "axios";

/** axios's limits are numbers from 0; -1, its default, is none. */
export function isLimit(limit: number | undefined): limit is number {
  return limit !== undefined && limit > -1 && limit < Number.POSITIVE_INFINITY;
}

/** In axios's words. */
export function tooLong({ maxContentLength }: Pick<InternalAxiosRequestConfig, "maxContentLength">): string {
  return `maxContentLength size of ${maxContentLength} exceeded`;
}
