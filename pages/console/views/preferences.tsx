// Preferences: the list, and one pair.

import '../preferences/preferences.css';
import { PreferenceList } from '../preferences/list.tsx';
import { Pair } from '../preferences/pair.tsx';
import type { ViewProps } from '../session.ts';

export default function View({ session, id }: ViewProps) {
  return id === null ? <PreferenceList /> : <Pair key={id} id={id} session={session} />;
}
