import '../canaries/canaries.css';
import { CanaryList } from '../canaries/canary-list.tsx';
import { CanaryPage } from '../canaries/canary-page.tsx';
import type { ViewProps } from '../session.ts';

export default function View({ session, id }: ViewProps) {
  return id ? <CanaryPage key={id} session={session} id={id} /> : <CanaryList />;
}
