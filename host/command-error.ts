// What a command throws where the user can put it right: the message is all that is printed.

export class CommandError extends Error {
  constructor(
    message: string,
    /** Exit status: 2 what was given can't be used, 3 what it needs is not here. */
    readonly status = 2,
  ) {
    super(message);
  }
}
