// Which tokens may be sampled: those of a list, or all but those of a list, whichever list is shorter.

export type TokenMask = { isAllowList: boolean; tokens: Int32Array };

/** isAllowed [V]: 1 for each token that may be sampled. */
export function toTokenMask(isAllowed: Uint8Array): TokenMask {
  const count = isAllowed.reduce((sum, allowed) => sum + allowed, 0);
  const isAllowList = count * 2 <= isAllowed.length;
  const tokens = new Int32Array(isAllowList ? count : isAllowed.length - count);
  const listed = isAllowList ? 1 : 0;
  let at = 0;
  for (let token = 0; token < isAllowed.length; token++) if (isAllowed[token] === listed) tokens[at++] = token;
  return { isAllowList, tokens };
}

export function allowsNone({ isAllowList, tokens }: TokenMask): boolean {
  return isAllowList && tokens.length === 0;
}
