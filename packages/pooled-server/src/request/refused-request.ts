/** A request that cannot be handed to the base server. The pipeline answers it with this. */
export class RefusedRequest extends Error {
  override readonly name = "RefusedRequest";
  readonly status: 400 | 501;
  readonly code: "invalid_request" | "not_implemented";

  constructor(status: 400 | 501, code: RefusedRequest["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.code = code;
  }
}
