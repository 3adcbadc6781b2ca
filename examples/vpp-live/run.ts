// `npm run live`: the live sample, told line by line. Exit status: 0 all was as it should be,
// 1 something was not, 3 it can't be played here.
import { existsSync } from "node:fs";
import { vppInstall } from "../../host/vpp/install.ts";
import { live } from "./live.ts";
import { podsAbsent } from "./pods.ts";

const install = vppInstall();
const absent = typeof install === "string" ? install
  : existsSync("dist/margay.js") ? podsAbsent() : "dist/margay.js is not built: npm run build";
if (absent !== undefined || typeof install === "string") {
  console.log(`live: skipped: ${absent}`);
  process.exitCode = 3;
} else {
  const seen = await live({ install, say: (line) => console.log(line) });
  const wrong = seen.filter(({ isRight }) => !isRight).length;
  console.log(`\n${seen.length - wrong} of ${seen.length} as they should be`);
  process.exitCode = wrong === 0 && seen.length > 0 ? 0 : 1;
}
