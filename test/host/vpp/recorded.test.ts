// The client against a recorded exchange: where no VPP is, its bytes are.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { VppClient } from "../../../host/vpp/api/index.ts";
import { Player, exchange, parseRecording, schemaOfRecording } from "./recording.ts";

test("vpp-api-recorded: sends what was sent then, and reads what VPP answered", async () => {
  const directory = mkdtempSync(join(tmpdir(), "margay-played-"));
  const socket = join(directory, "api.sock");
  const lines = parseRecording(readFileSync("test/host/vpp/exchange.txt", "utf8"));
  const player = new Player(socket, lines);
  try {
    const schema = schemaOfRecording(lines);
    const vpp = await VppClient.connect({ socket, schema, replySecondsMax: 5 });
    const found = await exchange(vpp);
    vpp.close();
    expect(player.differences).toEqual([]);
    expect(player.isDone).toBe(true);
    expect(found).toEqual({
      sw_if_index: 1,
      event: {
        _name: "sw_interface_event", pid: expect.any(Number), sw_if_index: 1,
        flags: ["UP", "LINK"], deleted: false,
      },
      addresses: ["10.9.0.1/24", "10.9.1.1/32", "fd09::1/64"],
      refused: "sw_interface_set_flags: no such interface (INVALID_SW_IF_INDEX, -2)",
      reply: expect.stringMatching(/loop0\s+1\s+up/),
      details: [],
    });
  } finally {
    player.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
