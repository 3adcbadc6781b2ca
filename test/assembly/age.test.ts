// Ageing shares its budget between the families' tables: neither may starve, however small one is.
import { expect, test } from "vitest";
import type { Packet } from "../../host/dataplane/dataplane.ts";
import { packet } from "../packets.ts";
import { CLIENT, started } from "../shop.ts";

const START = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
const HOUR = 3_600_000;
const flows = (family: 4 | 6, count: number): Packet[] => Array.from({ length: count }, (_, i) => ({
  interface: CLIENT,
  bytes: packet({
    from: family === 4 ? "10.0.0.1" : "fd00::1", to: family === 4 ? "198.51.100.7" : "2001:db8::7",
    protocol: "udp", port: 53, sourcePort: 1000 + i,
  }),
}));

test.each([[1, 1000], [3, 1000], [1000, 1], [1000, 3], [500, 500]])(
  "session-expiry: %i idle IPv4 sessions and %i IPv6 ones end within a few sweeps",
  async (count4, count6) => {
    const { dataplane } = await started();
    dataplane.process(0, [...flows(4, count4), ...flows(6, count6)], START);
    expect(dataplane.sessions()).toHaveLength(count4 + count6);
    const budget = 64;
    let ended = 0;
    for (let visited = 0; visited < 4 * (count4 + count6); visited += budget) {
      ended += dataplane.age(0, START.nowMs + HOUR, budget);
    }
    expect(dataplane.sessions()).toEqual([]);
    expect(ended).toBe(count4 + count6);
  },
);
