// What can go wrong between a program and VPP, each with a class of its own.
//
//   VppApiError ─┬─ VppSchemaError      a .api.json is not what it should be, or does not fit VPP
//                ├─ VppValueError       a value does not fit its field; names the field's path
//                ├─ VppDecodeError      bytes from VPP do not fit the message's definition
//                ├─ VppCallError        VPP answered with a negative retval
//                ├─ VppTimeoutError     VPP did not answer in time
//                └─ VppConnectionError  no connection, or it ended while an answer was awaited

import type { ErrorName } from "./errno.ts";

export class VppApiError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A .api.json that cannot be used, or that describes another version than the one that runs. */
export class VppSchemaError extends VppApiError {}

export class VppTimeoutError extends VppApiError {}

export class VppConnectionError extends VppApiError {}

/** An error somewhere inside a message. Containers add their names to its path on the way up. */
export class VppPathError extends VppApiError {
  private readonly steps: string[] = [];

  constructor(readonly problem: string) {
    super(problem);
  }

  /** In front of the path: ".field", "[3]", or the message's name. */
  within(step: string): this {
    this.steps.unshift(step);
    this.message = `${this.path}: ${this.problem}`;
    return this;
  }

  /** Such as sw_interface_add_del_address.prefix.len. */
  get path(): string {
    return this.steps.join("").replace(/^\./, "");
  }
}

/** A value that its field cannot hold. */
export class VppValueError extends VppPathError {}

/** VPP's bytes are not what the message's definition says. */
export class VppDecodeError extends VppPathError {}

/** A negative retval. */
export class VppCallError extends VppApiError {
  constructor(
    /** The request's name. */
    readonly request: string,
    readonly retval: number,
    /** The number's name and its text, where they are known. */
    readonly error: ErrorName | undefined,
    /** The whole reply. */
    readonly reply: Readonly<Record<string, unknown>>,
  ) {
    super(`${request}: ${describe(retval, error)}`);
  }
}

function describe(retval: number, error: ErrorName | undefined): string {
  return error ? `${error.text} (${error.name}, ${retval})` : `VPP answered ${retval}`;
}
