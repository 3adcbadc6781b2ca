// The agent's lines: when, what, and why. People read them; stderr has what is doubtful.
import pc from "picocolors";

export class AgentLog {
  constructor(
    private readonly out: (line: string) => void = (line) => console.log(line),
    private readonly err: (line: string) => void = (line) => console.error(line),
    private readonly now: () => Date = () => new Date(),
  ) {}

  say(text: string): void {
    this.each(text, this.out, (line) => line);
  }
  warn(text: string): void {
    this.each(text, this.err, pc.yellow);
  }
  fail(text: string): void {
    this.each(text, this.err, pc.red);
  }

  private each(text: string, to: (line: string) => void, paint: (line: string) => string): void {
    const time = pc.dim(this.now().toISOString().slice(11, 23));
    for (const line of text.split("\n")) to(`${time} ${paint(line)}`);
  }
}

/** "1 session", "2 sessions". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
