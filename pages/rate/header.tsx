// The head of the page: its parts, and a menu with what is set once.

import { useState } from 'preact/hooks';
import { api, type Session } from '../api.ts';
import { follow } from '../path.ts';
import { LANGUAGES, type Language, useTexts } from '../texts/texts.ts';
import { findTheme, showTheme, THEMES, type Theme } from '../theme.ts';
import { ARENA, RATE } from './path.ts';

type Props = { path: string; session: Session | null; language: Language; onLanguage(language: Language): void };

export function Header({ path, session, language, onLanguage }: Props) {
  const texts = useTexts();
  const isArena = path === ARENA;
  return (
    <header class="head">
      <span class="brand">Attune</span>
      <nav aria-label="Attune">
        <a href={RATE} aria-current={isArena ? undefined : 'page'} onClick={follow}>
          {texts.rate}
        </a>
        <a href={ARENA} aria-current={isArena ? 'page' : undefined} onClick={follow}>
          {texts.arena}
        </a>
      </nav>
      <button type="button" class="plain" popovertarget="menu" aria-label={texts.menu}>
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
          <path d="M2 4h12M2 8h12M2 12h12" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" />
        </svg>
      </button>
      <div id="menu" popover="auto">
        {session && <Who session={session} />}
        <label>
          {texts.languageLabel}
          <select value={language} onChange={(event) => onLanguage(event.currentTarget.value as Language)}>
            {Object.entries(LANGUAGES).map(([name, { language }]) => (
              <option key={name} value={name} lang={name}>
                {language}
              </option>
            ))}
          </select>
        </label>
        <ThemeChoice />
        {session?.expires_at != null && (
          <button type="button" onClick={signOut}>
            {texts.signOut}
          </button>
        )}
      </div>
    </header>
  );
}

function Who({ session: { rater, key } }: { session: Session }) {
  const texts = useTexts();
  const holder = rater ?? key;
  if (!holder) return null;
  return (
    <p class="quiet" dir="auto">
      {texts.signedInAs(holder.name ?? holder.id)}
    </p>
  );
}

function ThemeChoice() {
  const texts = useTexts();
  const [theme, setTheme] = useState<Theme>(findTheme);
  const choose = (chosen: Theme) => {
    showTheme(chosen);
    setTheme(chosen);
  };
  return (
    <label>
      {texts.theme}
      <select value={theme} onChange={(event) => choose(event.currentTarget.value as Theme)}>
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {texts.themes[name]}
          </option>
        ))}
      </select>
    </label>
  );
}

async function signOut(): Promise<void> {
  await api.DELETE('/v1/session').catch(() => {});
  location.assign('/sign-in');
}
