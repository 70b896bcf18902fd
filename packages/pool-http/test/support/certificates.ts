import { generate } from "selfsigned";

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** An authority, and a certificate of it for 127.0.0.1 and localhost; made once a test file. Two need two names. */
export async function makeCertificates(
  name = "test authority",
): Promise<{ ca: string; server: Certificate; client: Certificate }> {
  const common = { keyType: "ec" as const, algorithm: "sha256" };
  const authority = await generate([{ name: "commonName", value: name }], {
    ...common,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const signed = async (subject: string): Promise<Certificate> => {
    const made = await generate([{ name: "commonName", value: subject }], {
      ...common,
      ca: { key: authority.private, cert: authority.cert },
      extensions: [
        { name: "basicConstraints", cA: false },
        {
          name: "subjectAltName",
          altNames: [
            { type: 2, value: "localhost" },
            { type: 7, ip: "127.0.0.1" },
          ],
        },
      ],
    });
    return { cert: made.cert, key: made.private };
  };
  return { ca: authority.cert, server: await signed("server"), client: await signed("client") };
}
