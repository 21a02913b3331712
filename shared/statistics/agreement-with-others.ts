// Leave-one-out agreement: whether a vote is what most of the others on the same item chose.

/**
 * `counts`: how many chose each, the vote itself included. Null if no choice of the others has the most votes, as where
 * there are no others.
 */
export function agreesWithOthers<Choice extends string>(
  counts: Readonly<Record<Choice, number>>,
  vote: NoInfer<Choice>,
): boolean | null {
  const others = (Object.entries(counts) as [Choice, number][])
    .map(([choice, count]) => [choice, count - Number(choice === vote)] as const)
    .sort((one, other) => other[1] - one[1]);
  const [[favorite, most], [, next] = ['', 0]] = others as [readonly [Choice, number], (readonly [Choice, number])?];
  return most > next ? favorite === vote : null;
}
