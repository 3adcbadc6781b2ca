// The packet program's exports: the one door to its memory.
export { stage, publish } from "./control";
export { process } from "./pipeline";
export { age } from "./age";
export { recover } from "./recover";
export { restore } from "./restore";
// What users' policy modules import.
export { member } from "./facts";
