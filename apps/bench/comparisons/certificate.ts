import { generate } from "selfsigned";

/** A certificate for `localhost` that vouches for itself, with its key; PEM. */
export async function selfSigned(): Promise<{ key: string; cert: string }> {
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    algorithm: "sha256",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
  });
  return { key, cert };
}
