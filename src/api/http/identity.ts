/** How callers of the HTTP API prove who they are. */

/**
 * The API server takes Authorization and X-Remote-* off a request before it proxies it; this header passes. No other
 * header says anything about who asks.
 */
export const tokenHeader = "x-rota-token";

/** Tokens and signatures made for Rota are of use nowhere else. */
export const audience = "rota.dev";

/** The type (RFC 7515, typ) of signatures made with a client certificate's key. Tokens of identity providers have others. */
export const proofType = "rota-proof+jwt";
