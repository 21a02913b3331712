import '../canaries/canaries.css';
import '../now/now.css';
import '../rounds/rounds.css';
import { NowPage } from '../now/now-page.tsx';
import type { ViewProps } from '../session.ts';

export default function View({ session }: ViewProps) {
  return <NowPage session={session} />;
}
