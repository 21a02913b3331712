// Splits one direction of a Postgres connection into messages (the documentation's chapter "Frontend/Backend Protocol"):
// a type byte, then a length that counts itself. A client's first message has no type byte.

export type WireMessage = { type: string; bytes: Buffer };

const STARTUP = 'startup';

export class MessageSplitter {
  private rest: Buffer = Buffer.alloc(0);
  private isStartup: boolean;

  constructor(side: 'client' | 'server') {
    this.isStartup = side === 'client';
  }

  /** The messages that are complete with this chunk. */
  push(chunk: Buffer): WireMessage[] {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const messages: WireMessage[] = [];
    while (true) {
      const lengthAt = this.isStartup ? 0 : 1;
      if (this.rest.length < lengthAt + 4) return messages;
      const end = lengthAt + this.rest.readInt32BE(lengthAt);
      if (this.rest.length < end) return messages;
      const type = this.isStartup ? STARTUP : String.fromCharCode(this.rest[0]!);
      messages.push({ type, bytes: this.rest.subarray(0, end) });
      this.rest = this.rest.subarray(end);
      this.isStartup = false;
    }
  }
}

/** The text of a simple query. */
export const readQuery = ({ bytes }: WireMessage): string => readStrings(bytes, 5, 1)[0]!;

/** Name and text of a prepared statement. */
export const readParse = ({ bytes }: WireMessage): [name: string, text: string] =>
  readStrings(bytes, 5, 2) as [string, string];

/** Name of the statement whose parameters are bound. */
export const readBind = ({ bytes }: WireMessage): string => readStrings(bytes, 5, 2)[1]!;

/** Strings end with a zero byte. */
function readStrings(bytes: Buffer, start: number, count: number): string[] {
  const strings: string[] = [];
  for (let from = start; strings.length < count; ) {
    const end = bytes.indexOf(0, from);
    strings.push(bytes.toString('utf8', from, end));
    from = end + 1;
  }
  return strings;
}
