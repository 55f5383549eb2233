/** How callers of the HTTP API prove their identity. */

/**
 * The API server removes Authorization and X-Remote-* before it proxies a request; this header passes. No other header
 * identifies the caller.
 */
export const tokenHeader = "x-rota-token";

/** Tokens and signatures for this audience are useless elsewhere. */
export const audience = "rota.dev";
