// The ids in a response: of the stored rows that it is about, or has the text of. An erasure finds stored responses by them.

const ID = /^(?:chatcmpl-|cmpl-|cmp_|pref_|fb_|rater_|que_|item_|res_)[0-9a-f]{32}$/;
/** What the caller wrote: an id in it names nothing, and there may be any number of them. */
const CALLERS_OWN = new Set(['prompt', 'metadata']);

/** Values that are an id as a whole, each once. */
export function listResourceIds(response: unknown): string[] {
  const ids = new Set<string>();
  const collect = (value: unknown): void => {
    if (typeof value === 'string' && ID.test(value)) ids.add(value);
    if (value === null || typeof value !== 'object') return;
    for (const [name, inner] of Object.entries(value)) if (!CALLERS_OWN.has(name)) collect(inner);
  };
  collect(response);
  return [...ids];
}
