// The texts of a comparison's sides as they are generated, let through evenly: a token of each side at a time, until one of them
// has ended. Otherwise the faster policy could be told from the slower one, and a reader would begin with the longer side.

export type SideName = 'a' | 'b';

type Side = { name: SideName; waiting: string[]; hasEnded: boolean };

export class EvenSides {
  private readonly a: Side = { name: 'a', waiting: [], hasEnded: false };
  private readonly b: Side = { name: 'b', waiting: [], hasEnded: false };
  private readonly send: (side: SideName, text: string) => void;

  constructor(send: (side: SideName, text: string) => void) {
    this.send = send;
  }

  /** `text`: what one token adds; it counts also if that is nothing. */
  add(side: SideName, text: string): void {
    this[side].waiting.push(text);
    this.letThrough();
  }

  /** `rest`: text that was held back because it could have been the start of a stop string. */
  end(side: SideName, rest: string): void {
    if (rest) this[side].waiting.push(rest);
    this[side].hasEnded = true;
    this.letThrough();
  }

  private letThrough(): void {
    const canGo = (side: Side, other: Side) => side.waiting.length > 0 && (other.waiting.length > 0 || other.hasEnded);
    while (canGo(this.a, this.b) || canGo(this.b, this.a))
      for (const { name, waiting } of [this.a, this.b]) {
        const text = waiting.shift();
        if (text) this.send(name, text);
      }
  }
}
