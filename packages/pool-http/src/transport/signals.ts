/** Codes with which a connection tells an attempt that its request cannot have reached the server. */

/** The connection was closed before the request was written, or before the server took it. */
export const CONNECTION_GONE = "VG_CONNECTION_GONE";

/** HTTP/2: the server refused the stream and has done nothing for it. */
export const STREAM_REFUSED = "VG_STREAM_REFUSED";
