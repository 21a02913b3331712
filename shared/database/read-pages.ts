// Reads a table by its ids, oldest first, with one page in memory at a time.

export const PAGE_SIZE = 500;

/** `select`: at most `size` rows after an id, in order. */
export async function* readPages<T extends { id: string }>(
  select: (after: string) => Promise<T[]>,
  size = PAGE_SIZE,
): AsyncGenerator<T> {
  let page: T[];
  let after = '';
  do {
    page = await select(after);
    yield* page;
    after = page.at(-1)?.id ?? after;
  } while (page.length === size);
}
