// At most so many votes of each rater count, the first ones: with CANARY_RATER_VOTES's default of 6 nobody decides alone, since
// E is 18.1 after six votes that agree.

type Given = { tenant: string; rater: string };

/** A function that says of each vote, in order, whether it is among the first `limit` of its rater. */
export function limitByRater(limit: number): (vote: Given) => boolean {
  const counts = new Map<string, number>();
  return ({ tenant, rater }) => {
    const name = JSON.stringify([tenant, rater]);
    const before = counts.get(name) ?? 0;
    counts.set(name, before + 1);
    return before < limit;
  };
}
