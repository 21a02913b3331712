// Two texts that grow in pieces, shown evenly.

export type SideTexts = { a: string; b: string };
export type Pieces = Record<keyof SideTexts, string[]>;

/** As many pieces of both sides. One that is ahead by more than one has the other's end behind it. */
export function cutEvenly({ a, b }: Pieces): SideTexts {
  const isEnded = Math.abs(a.length - b.length) > 1;
  const count = isEnded ? Math.max(a.length, b.length) : Math.min(a.length, b.length);
  return { a: a.slice(0, count).join(''), b: b.slice(0, count).join('') };
}
