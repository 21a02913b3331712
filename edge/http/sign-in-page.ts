// The page that signs a browser in, with an invitation or a key. It has no script: programs that preview the link of an
// invitation only load it, and do not use the invitation up. It reveals nothing about whom an invitation is for.

import { html, raw } from 'hono/html';
import { SIGN_IN_PATH } from '../../shared/access/invitations.ts';
import { toCspHash, toPagePolicy } from '../middleware/security-headers.ts';
import { CONSOLE_PATH, RATE_PATH } from './pages.ts';

type Page = { invitation?: string | undefined; problem?: string | undefined; language?: Language };

const TEXTS = {
  en: {
    title: 'Sign in',
    invited: 'You were invited to rate responses.',
    intro: 'Sign in with a key, or open your invitation link.',
    keyInstead: 'Sign in with a key instead',
    key: 'Key',
    signedInAs: 'You are signed in as',
    rate: 'Rate responses',
    console: 'Console',
    signOut: 'Sign out',
  },
  de: {
    title: 'Anmelden',
    invited: 'Sie sind eingeladen, Antworten zu bewerten.',
    intro: 'Melden Sie sich mit einem Schlüssel an, oder öffnen Sie den Link Ihrer Einladung.',
    keyInstead: 'Mit einem Schlüssel anmelden',
    key: 'Schlüssel',
    signedInAs: 'Sie sind angemeldet als',
    rate: 'Antworten bewerten',
    console: 'Konsole',
    signOut: 'Abmelden',
  },
};

type Language = keyof typeof TEXTS;

/** The first language of the browser that there are texts in, by its Accept-Language. Browsers list them in their order. */
export function findLanguage(accepted = ''): Language {
  const wanted = accepted.split(',').map((range) => range.trim().slice(0, 2).toLowerCase());
  return wanted.find((name): name is Language => Object.hasOwn(TEXTS, name)) ?? 'en';
}

const STYLE = `
:root { color-scheme: light dark; --text: light-dark(#1c1b22, #ecebf0); --quiet: light-dark(#5f5d6b, #a9a7b4);
  --page: light-dark(#f4f3f7, #141318); --card: light-dark(#fff, #1f1e25); --line: light-dark(#8a8896, #6f6d7b);
  --accent: light-dark(#4b3fb5, #a79dff); --on-accent: light-dark(#fff, #14121f); --problem: light-dark(#a3182c, #ff9aa5); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-items: center; padding: 1rem;
  background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { width: min(24rem, 100%); padding: 2rem; border-radius: 0.75rem; background: var(--card);
  box-shadow: 0 1px 3px rgb(0 0 0 / 0.2); }
h1 { margin: 0 0 0.25rem; font-size: 1.5rem; line-height: 1.2; }
p { margin: 0 0 1.25rem; color: var(--quiet); overflow-wrap: anywhere; }
strong { color: var(--text); }
a { color: var(--accent); }
p[role=alert] { color: var(--problem); }
p[role=alert]::first-letter { text-transform: uppercase; }
::placeholder { color: var(--quiet); opacity: 1; }
form + details, form + p { margin-top: 1.5rem; }
label { display: block; margin-bottom: 0.25rem; font-weight: 600; }
summary { cursor: pointer; color: var(--quiet); }
details form { margin-top: 1rem; }
input, button { width: 100%; min-height: 2.75rem; padding: 0.5rem 0.75rem; border-radius: 0.5rem; font: inherit; }
input { margin-bottom: 1rem; border: 1px solid var(--line); background: transparent; color: inherit; }
button { border: 1px solid transparent; background: var(--accent); color: var(--on-accent); font-weight: 600; cursor: pointer; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
`;

export const SIGN_IN_HEADERS = {
  'content-security-policy': toPagePolicy(`style-src ${toCspHash(STYLE)}`),
  'cache-control': 'no-store',
  // The form's request names its origin, which it would not with no-referrer; requests to other sites do not have the token.
  'referrer-policy': 'same-origin',
};

export function renderSignIn({ invitation, problem, language = 'en' }: Page) {
  const texts = TEXTS[language];
  const intro = invitation ? texts.invited : texts.intro;
  return renderPage(
    language,
    html`${problem ? html`<p role="alert" lang="en">${problem}</p>` : html`<p>${intro}</p>`}
${
  invitation
    ? html`${invitationForm(invitation, language)}<details><summary>${texts.keyInstead}</summary>${keyForm(language)}</details>`
    : keyForm(language)
}`,
  );
}

/** The field of the form that signs out. */
export const SIGN_OUT_FIELD = 'sign_out';

/** `name`: of who is signed in. */
export function renderSignedIn(name: string, language: Language = 'en') {
  const texts = TEXTS[language];
  return renderPage(
    language,
    html`<p>${texts.signedInAs} <strong>${name}</strong>. <a href="${CONSOLE_PATH}">${texts.console}</a>, <a href="${RATE_PATH}">${texts.rate}</a></p>
<form method="post" action="${SIGN_IN_PATH}">
<input type="hidden" name="${SIGN_OUT_FIELD}" value="1">
<button>${texts.signOut}</button>
</form>`,
  );
}

function renderPage(language: Language, content: ReturnType<typeof html>) {
  return html`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${TEXTS[language].title} – Attune</title>
<style>${raw(STYLE)}</style>
</head>
<body>
<main>
<h1>Attune</h1>
${content}
</main>
</body>
</html>`;
}

const invitationForm = (invitation: string, language: Language) => html`<form method="post" action="${SIGN_IN_PATH}">
<input type="hidden" name="invitation" value="${invitation}">
<button>${TEXTS[language].title}</button>
</form>`;

const keyForm = (language: Language) => html`<form method="post" action="${SIGN_IN_PATH}">
<label for="key">${TEXTS[language].key}</label>
<input id="key" name="key" type="password" required autocomplete="current-password" spellcheck="false" placeholder="sk-at-…">
<button>${TEXTS[language].title}</button>
</form>`;
