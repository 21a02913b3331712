// The side of the console: its views in groups, and what is set once. On a phone it is above the content, with a menu.

import { useEffect, useState } from 'preact/hooks';
import { api, type Session } from '../api.ts';
import { follow, useAddress } from '../path.ts';
import { findTheme, showTheme, THEMES, type Theme } from '../theme.ts';
import { mayUse } from './session.ts';
import { VIEWS } from './views.ts';

const GROUPS = ['Loop', 'People', 'Try', 'Administer'] as const;

export function Navigation({ session, current }: { session: Session; current: string }) {
  const { pathname } = useAddress();
  // On a phone the views are in a menu, which closes when one is chosen.
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen(false), [pathname]);
  const title = VIEWS.find(({ name }) => name === current)?.title ?? (current === 'welcome' ? 'Welcome' : 'Menu');
  const shown = VIEWS.filter(({ scopes = ['read'] }) => mayUse(session, scopes));
  return (
    <header class={isOpen ? 'side-bar open' : 'side-bar'}>
      <a class="brand" href="/" onClick={follow}>
        Attune
      </a>
      <button
        type="button"
        class="menu-button"
        aria-expanded={isOpen}
        aria-controls="views"
        onClick={() => setOpen(!isOpen)}
      >
        {title} <span aria-hidden="true">{isOpen ? '▴' : '▾'}</span>
      </button>
      <nav id="views" aria-label="Console">
        {GROUPS.map((group) => {
          const views = shown.filter((view) => view.group === group);
          if (views.length === 0) return null;
          return (
            <section key={group} aria-label={group}>
              <h2>{group}</h2>
              {views.map(({ name, title }) => (
                <a
                  key={name}
                  href={`/console/${name}`}
                  aria-current={name === current ? 'page' : undefined}
                  onClick={follow}
                >
                  {title}
                </a>
              ))}
            </section>
          );
        })}
      </nav>
      <div class="side-foot">
        <a href="/rate">Rate</a>
        <a href="/docs">API</a>
        <ThemeChoice />
        {session.expires_at != null && (
          <button type="button" class="plain" onClick={signOut}>
            Sign out
          </button>
        )}
      </div>
    </header>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(findTheme);
  const choose = (chosen: Theme) => {
    showTheme(chosen);
    setTheme(chosen);
  };
  return (
    <select aria-label="Theme" value={theme} onChange={(event) => choose(event.currentTarget.value as Theme)}>
      {THEMES.map((name) => (
        <option key={name} value={name}>
          {name[0]!.toUpperCase() + name.slice(1)}
        </option>
      ))}
    </select>
  );
}

async function signOut(): Promise<void> {
  await api.DELETE('/v1/session').catch(() => {});
  location.assign('/sign-in');
}
