import '../rounds/rounds.css';
import { RoundList } from '../rounds/round-list.tsx';
import { RoundPage } from '../rounds/round-page.tsx';
import type { ViewProps } from '../session.ts';

export default function View({ session, id }: ViewProps) {
  return id ? <RoundPage key={id} session={session} id={id} /> : <RoundList session={session} />;
}
