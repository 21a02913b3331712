// The page as a whole: who is signed in, which part is shown, and in which language.

import { useEffect, useState } from 'preact/hooks';
import { ApiError, api, ask, type Session } from '../api.ts';
import { useAddress } from '../path.ts';
import { chooseLanguage, findLanguage, LANGUAGES, type Language, TextsProvider } from '../texts/texts.ts';
import { Arena } from './arena.tsx';
import { Header } from './header.tsx';
import { Message } from './message.tsx';
import { Outbox } from './outbox.ts';
import { ARENA } from './path.ts';
import { PolicyNamesProvider, usePolicyNames } from './policy-name.tsx';
import { Queues } from './queues.tsx';

type State = { session: Session } | { error: ApiError } | null;

export function App() {
  const [language, setLanguage] = useState<Language>(findLanguage);
  const [state, setState] = useState<State>(null);
  const path = useAddress().pathname;
  const texts = LANGUAGES[language];

  const load = () => {
    setState(null);
    ask(api.GET('/v1/session')).then(
      (session) => setState({ session }),
      (error) => setState({ error: error as ApiError }),
    );
  };
  useEffect(load, []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);

  const session = state && 'session' in state ? state.session : null;
  const policyNames = usePolicyNames(session);
  const content = () => {
    if (!state) return <Message title={texts.loading} isLoading />;
    if ('session' in state) {
      const holder = nameHolder(state.session);
      const outbox = new Outbox(holder);
      return path === ARENA ? (
        <Arena session={state.session} holder={holder} outbox={outbox} />
      ) : (
        <Queues path={path} holder={holder} outbox={outbox} />
      );
    }
    return <Failure error={state.error} retry={load} />;
  };

  return (
    <TextsProvider value={texts}>
      <Header
        path={path}
        session={session}
        language={language}
        onLanguage={(chosen) => {
          chooseLanguage(chosen);
          setLanguage(chosen);
        }}
      />
      <PolicyNamesProvider value={policyNames}>{content()}</PolicyNamesProvider>
    </TextsProvider>
  );
}

/** Whose votes the browser keeps. */
function nameHolder({ rater, key }: Session): string {
  return (rater ?? key)?.id ?? 'anonymous';
}

function Failure({ error, retry }: { error: ApiError; retry: () => void }) {
  const texts = LANGUAGES[findLanguage()];
  if (error instanceof ApiError && error.status === 401)
    return (
      <Message title={texts.signInTitle} text={texts.signInText}>
        <a class="button primary" href="/sign-in">
          {texts.signIn}
        </a>
      </Message>
    );
  return (
    <Message
      title={error.status === 0 ? texts.noConnection : texts.failed}
      text={error.status === 0 ? undefined : error.message}
    >
      <button type="button" class="primary" onClick={retry}>
        {texts.retry}
      </button>
    </Message>
  );
}
