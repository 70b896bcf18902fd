export { fullJitterDelay } from "./backoff.ts";
export { Bag, NOT_BAGGED, type Bagged } from "./bag.ts";
export { callSite, callSiteReader } from "./call-site.ts";
export { LONGEST_DELAY_MS, monotonicClock } from "./clock.ts";
export { readEnvironment } from "./environment.ts";
export { onFirstAnswer } from "./first-answer.ts";
export { expressRoute, honoRoute } from "./framework-routes.ts";
export { createHistogram } from "./histogram.ts";
export { checkOptions, describeKind, describeValue } from "./options.ts";
