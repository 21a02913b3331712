// The parts of a tokenizer.json that do not depend on the kind of tokenizer.

/** A token that is found in a text before anything else. */
export function makeAddedToken(id: number, content: string, special: boolean): Record<string, unknown> {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special };
}

/** Puts a token before each text; null: none. */
export function makePrefixProcessor(prefix: { id: number; content: string } | null): Record<string, unknown> {
  const text = (name: string, type_id: number) => [
    ...(prefix ? [{ SpecialToken: { id: prefix.content, type_id } }] : []),
    { Sequence: { id: name, type_id } },
  ];
  const tokens = prefix && { [prefix.content]: { id: prefix.content, ids: [prefix.id], tokens: [prefix.content] } };
  return {
    type: 'TemplateProcessing',
    single: text('A', 0),
    pair: [...text('A', 0), ...text('B', 1)],
    special_tokens: tokens ?? {},
  };
}
