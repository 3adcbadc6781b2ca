// The numbers that VPP answers as retval, by name and text.
//
//   an installed VPP's include/vnet/error.h, where its headers are ─► all of that version's
//   otherwise the few below, which a program meets most, in words of our own
//
// Limits: the numbers below have been the same for many releases; the header goes before them.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface ErrorName {
  name: string;
  text: string;
}

/** An answer of a cursored get: there is more, ask again from `cursor`. */
export const RETVAL_AGAIN = -165;

const FREQUENT: Record<number, [name: string, text: string]> = {
  [-1]: ["UNSPECIFIED", "unspecified error"],
  [-2]: ["INVALID_SW_IF_INDEX", "no such interface"],
  [-3]: ["NO_SUCH_FIB", "no such table"],
  [-6]: ["NO_SUCH_ENTRY", "no such entry"],
  [-7]: ["INVALID_VALUE", "invalid value"],
  [-8]: ["INVALID_VALUE_2", "invalid second value"],
  [-9]: ["UNIMPLEMENTED", "not implemented"],
  [-11]: ["SYSCALL_ERROR_1", "a system call failed"],
  [-30]: ["FEATURE_DISABLED", "the feature is off"],
  [-31]: ["INVALID_REGISTRATION", "no such client registration"],
  [-56]: ["VLAN_ALREADY_EXISTS", "the sub-interface exists already"],
  [-71]: ["INVALID_INTERFACE", "no such kind of interface"],
  [-81]: ["VALUE_EXIST", "the value exists already"],
  [-105]: ["ADDRESS_IN_USE", "the address is in use"],
  [RETVAL_AGAIN]: ["EAGAIN", "more to come"],
};

/** One line of the header's list: _ (NAME, -1, "text"). */
const LINE = /\b_\s*\(\s*([A-Z][A-Z0-9_]*)\s*,\s*(-\d+)\s*,\s*"([^"]*)"\s*\)/g;

export class ErrorNames {
  private readonly names = new Map<number, ErrorName>();

  constructor() {
    for (const [number, [name, text]] of Object.entries(FREQUENT)) {
      this.names.set(Number(number), { name, text });
    }
  }

  /** Reads the headers that were installed beside these directories of .api.json files. */
  readBeside(apiDirectories: readonly string[]): this {
    for (const directory of apiDirectories) {
      const header = join(directory, "../../../include/vnet/error.h");
      if (existsSync(header)) this.readHeader(readFileSync(header, "utf8"));
    }
    return this;
  }

  readHeader(text: string): void {
    for (const [, name, number, words] of text.matchAll(LINE)) {
      this.names.set(Number(number), { name: name!, text: words! });
    }
  }

  of(retval: number): ErrorName | undefined {
    return this.names.get(retval);
  }
}
