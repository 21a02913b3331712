import '../policies/policies.css';
import { Compare } from '../policies/compare.tsx';
import { PolicyList } from '../policies/policy-list.tsx';
import { PolicyPage } from '../policies/policy-page.tsx';
import type { ViewProps } from '../session.ts';

export default function View({ session, id }: ViewProps) {
  if (id === null) return <PolicyList />;
  return id === 'compare' ? <Compare /> : <PolicyPage key={id} session={session} id={id} />;
}
