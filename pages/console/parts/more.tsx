// The end of a list that is read page by page: how much of it is shown, and a button for more.

import './field.css';
import { formatCount } from '../format.ts';
import type { Pages } from '../use-pages.ts';

export function More<Row>({
  pages: { rows, hasMore, isLoading, readMore },
  name,
}: {
  pages: Pages<Row>;
  name: string;
}) {
  return (
    <div class="more">
      <span role="status">
        {isLoading
          ? 'Loading …'
          : `${formatCount(rows.length)} ${rows.length === 1 ? name.replace(/s$/, '') : name}${hasMore ? ', and there are more' : ''}`}
      </span>
      {hasMore && (
        <button type="button" onClick={readMore} disabled={isLoading}>
          Show more
        </button>
      )}
    </div>
  );
}
