import type { TypeParsers } from "../protocol/columns.ts";
import type { WireValue } from "../protocol/message-writer.ts";

/** A statement as the runner takes it. */
export interface PlainCall {
  readonly text: string;
  readonly values: readonly WireValue[];
  /** The user's own name for a prepared statement. */
  readonly name: string | undefined;
  readonly asArray: boolean;
  readonly types: TypeParsers | undefined;
  /** False: never by a name of ours. */
  readonly prepare: boolean;
}
