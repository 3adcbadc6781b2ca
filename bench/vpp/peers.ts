// The peers: plugins that come with VPP, each set up for the same work as Margay in a bed.
//
//   cnat       Services and sessions (cnat-lookup, -input, -output, -writeback)
//   npol       cnat with policies: evaluated by cnat's nodes at a flow's first packet
//   acl        acl-plugin, permit+reflect: policy with sessions, no NAT
//   nat44-ed   a load-balancing static mapping, out to in; with the reassembly that it turns on
//   sfdp       the session look-up of vnet/sfdp, its input and l4-lifecycle: no policy, no NAT
//
// A peer's figure is the sum of all nodes that its features put in the way. Limits: a bed has one
// peer, for SFDP and cnat use the same field of a buffer.

import { writeFileSync } from "node:fs";
import { addressOf, BACKEND_PORT, VIP_PORT } from "./packets.ts";
import { VppClient } from "../../host/vpp/api/index.ts";
import type { Bed, BedRule } from "./bed.ts";
import type { VppProcess } from "../../host/vpp/process.ts";

export type PeerName = "cnat" | "npol" | "acl" | "nat44-ed" | "sfdp";

export interface Peer {
  name: PeerName;
  plugins: string[];
  /** Sections of startup.conf. */
  sections(bed: Bed): Record<string, string>;
  /** Nodes that count. */
  nodes: RegExp;
  /** Puts it between pg1 and pg3. */
  lay(vpp: VppProcess, bed: Bed): Promise<void>;
  /** How many sessions it has. */
  sessions(vpp: VppProcess): Promise<number>;
}

/** Seconds that sessions live where nothing shall age. */
const AGE_SECONDS = 7200;
/** What npol calls deny: the verdict where no rule matches. */
const NPOL_DENY = 1;

const numberIn = (text: string, pattern: RegExp): number =>
  Number(pattern.exec(text)?.[1] ?? Number.NaN);

/** Commands that may each print something, from a file: one by one they would take minutes. */
async function execute(vpp: VppProcess, name: string, lines: string[]): Promise<string> {
  const file = vpp.path(name);
  writeFileSync(file, `${lines.join("\n")}\n`);
  return vpp.command(`exec ${file}`);
}

function sectionsOfCnat(bed: Bed): Record<string, string> {
  // Its table is made for 2.4 times as many; more than 2^24 it takes for an error.
  const most = Math.min(1 << 24, Math.max(1 << 20, bed.sessions * 4));
  const age = bed.idleSeconds ?? AGE_SECONDS;
  const tuned = bed.idleSeconds ? " session-cleanup-timeout 0.1" : "";
  return { cnat: `session-max ${most} session-max-age ${age}${tuned}` };
}

async function layCnat(vpp: VppProcess, bed: Bed): Promise<void> {
  await vpp.quietly("set cnat feature pg1 enable", "set cnat feature pg3 enable");
  const lines = Array.from({ length: bed.services }, (_, s) => {
    const paths = [0, 1].map((b) =>
      `to ::->${addressOf(bed.family, "backend", 2 * s + b)} ${BACKEND_PORT}`
        .replace("::->", bed.family === 4 ? "0.0.0.0->" : "::->")).join(" ");
    const vip = `${addressOf(bed.family, "vip", s)} ${VIP_PORT}`;
    return `cnat translation add proto UDP vip ${vip} ${paths}`;
  });
  if (lines.length) await execute(vpp, "translations", lines);
}

const NO_FILTER = { value: 0, type: "NPOL_RULE_FILTER_NONE_TYPE", should_match: 0 };

/** By the binary API: its command takes any set for one of addresses with ports. */
function npolRule({ source }: BedRule): Record<string, unknown> {
  const entry = source
    ? { type: "NPOL_CIDR", data: { cidr: source } }
    // The bytes of the number 0: npol.api names no arm for this type.
    : { type: "NPOL_IP_SET", data: new Uint8Array(4) };
  return {
    action: "NPOL_ALLOW",
    filters: [
      { value: 17, type: "NPOL_RULE_FILTER_L4_PROTO", should_match: 1 }, NO_FILTER, NO_FILTER,
    ],
    matches: [{ is_src: true, is_not: false, ...entry }],
  };
}

async function layNpol(vpp: VppProcess, bed: Bed): Promise<void> {
  await layCnat(vpp, bed);
  const { rules, members } = bed.policy!;
  if (members.length) {
    await vpp.expect(`npol ipset add ${members[0]}`, "npol ipset 0 added");
    const lines: string[] = [];
    for (let from = 1; from < members.length; from += 100) {
      lines.push(`npol ipset add member id 0 ${members.slice(from, from + 100).join(" ")}`);
    }
    await execute(vpp, "members", lines);
  }
  const api = await VppClient.connect({ socket: vpp.path("api.sock") });
  try {
    for (const rule of rules) await api.call("npol_rule_create", { rule: npolRule(rule) });
  } finally {
    api.close();
  }
  await vpp.expect(
    `npol policy add tx ${rules.map((_, i) => i).join(" ")}`, "npol policy 0 added",
  );
  await vpp.expect(
    `npol interface configure pg3 tx 0 tx-policy-def ${NPOL_DENY} tx-profile-def ${NPOL_DENY}`
      + " rx-policy-def 0 rx-profile-def 0", "npol interface",
  );
}

const CNAT_NODES = /^cnat-(lookup|input|output|writeback)-/;
const cnatSessions = async (vpp: VppProcess): Promise<number> =>
  numberIn(await vpp.command("show cnat timestamp"), /^Total timestamps (\d+)/m);

export const PEERS: Record<PeerName, Peer> = {
  cnat: {
    name: "cnat", plugins: ["cnat_plugin.so"], nodes: CNAT_NODES, sections: sectionsOfCnat,
    lay: layCnat, sessions: cnatSessions,
  },
  npol: {
    name: "npol", plugins: ["cnat_plugin.so", "npol_plugin.so"], nodes: CNAT_NODES,
    sections: sectionsOfCnat, lay: layNpol, sessions: cnatSessions,
  },
  acl: {
    name: "acl", plugins: ["acl_plugin.so"], nodes: /^acl-plugin-.*fa/, sections: () => ({}),
    async lay(vpp, bed) {
      // The defaults, 500,000 sessions on a million buckets, would drop at a million flows.
      const most = Math.max(1_000_000, bed.sessions * 2);
      await vpp.quietly(
        `set acl-plugin session table max-entries ${most}`,
        `set acl-plugin session timeout udp idle ${AGE_SECONDS}`,
      );
      const rules = bed.policy!.rules.map(({ source }) =>
        `permit+reflect src ${source} dst 0.0.0.0/0 proto 17`).join(", ");
      await vpp.expect(`set acl-plugin acl ${rules}`, "ACL index:0");
      await vpp.quietly("set acl-plugin interface pg1 input acl 0");
    },
    sessions: async (vpp) => numberIn(
      await vpp.command("show acl-plugin sessions"), /^Sessions active: .* = (\d+)/m,
    ),
  },
  "nat44-ed": {
    name: "nat44-ed", plugins: ["nat_plugin.so"], sections: () => ({}),
    nodes: /^(nat44-|nat-pre-|ip4-sv-reassembly)/,
    async lay(vpp, bed) {
      const locals = [0, 1].map((b) =>
        `local ${addressOf(4, "backend", b)}:${BACKEND_PORT} probability 50`).join(" ");
      await vpp.quietly(
        `nat44 plugin enable sessions ${Math.max(65_536, bed.sessions * 2)}`,
        "set interface nat44 out pg1 in pg3",
        `nat44 add address ${addressOf(4, "vip", 0)}`,
        `nat44 add load-balancing static mapping protocol udp external `
          + `${addressOf(4, "vip", 0)}:${VIP_PORT} ${locals}`,
        `set nat timeout udp ${AGE_SECONDS}`,
      );
    },
    sessions: async (vpp) => numberIn(
      await vpp.command("show nat44 summary"), /total(?: timed out)? sessions:\s*(\d+)/,
    ),
  },
  sfdp: {
    name: "sfdp", plugins: ["sfdp_services_plugin.so"], nodes: /^sfdp-/,
    sections: (bed) => ({
      // A counter for each of 32,768 tenants and kind.
      statseg: "size 512M page-size 4k",
      sfdp: `sessions-log2 ${Math.max(19, Math.ceil(Math.log2(bed.sessions * 2)))}`,
    }),
    async lay(vpp) {
      await vpp.quietly(
        "sfdp tenant add 1 context 1",
        "set sfdp services tenant 1 sfdp-l4-lifecycle ip4-lookup forward",
        "set sfdp services tenant 1 sfdp-l4-lifecycle ip4-lookup reverse",
        "set sfdp timeout tenant 1 embryonic 7200", "set sfdp timeout tenant 1 established 7200",
        "set sfdp interface-input pg1 tenant 1",
      );
    },
    sessions: async (vpp) => numberIn(
      await vpp.command("show sfdp status"), /active sessions: (\d+)/,
    ),
  },
};
