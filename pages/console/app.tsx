// The console as a whole: who is signed in, the navigation, and the view that the address names. At / it welcomes.

import type { ComponentType } from 'preact';
import { useEffect, useErrorBoundary, useState } from 'preact/hooks';
import { ApiError, api, ask, type Session } from '../api.ts';
import { useLostConnection } from '../connection.ts';
import { follow, useAddress } from '../path.ts';
import { Navigation } from './navigation.tsx';
import { Failure, Loading } from './parts/states.tsx';
import { mayUse, type ViewProps } from './session.ts';
import { VIEWS, type View } from './views.ts';

export const CONSOLE = '/console';

const WELCOME: View = { name: 'welcome', title: 'Welcome', group: 'Loop', load: () => import('./views/welcome.tsx') };

export function App() {
  const { pathname } = useAddress();
  const [session, setSession] = useState<Session | ApiError | null>(null);
  const load = () => {
    setSession(null);
    ask(api.GET('/v1/session')).then(setSession, (error) => setSession(error as ApiError));
  };
  useEffect(load, []);
  const isLost = useLostConnection();

  const [, , name = 'now', id = null] = pathname.split('/');
  const view = pathname === '/' ? WELCOME : VIEWS.find((one) => one.name === name);
  useEffect(() => {
    document.title = view ? `${view.title} – Attune` : 'Attune';
    window.scrollTo(0, 0);
  }, [view, id]);

  if (session === null) return <Loading />;
  if (session instanceof ApiError) return <SignIn error={session} retry={load} />;
  const isAllowed = view && mayUse(session, view.scopes ?? ['read']);
  return (
    <div class="console">
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Navigation session={session} current={view?.name ?? ''} />
      {isLost && (
        <p class="lost" role="status">
          The server does not answer. What is shown is what it said last.
        </p>
      )}
      <main id="content" tabIndex={-1}>
        {!view && (
          <Failure title="There is no such page" text={`Nothing is at ${pathname}.`}>
            <a class="button" href="/console" onClick={follow}>
              Go to Now
            </a>
          </Failure>
        )}
        {view && !isAllowed && (
          <Failure
            title={`${view.title} is not for this key`}
            text={`It needs a key with the scope ${(view.scopes ?? ['read']).join(' or ')}; this one has ${session.scopes.join(', ')}.`}
          />
        )}
        {view && isAllowed && <Loaded key={view.name} view={view} session={session} id={id} />}
      </main>
    </div>
  );
}

function Loaded({ view, ...props }: ViewProps & { view: View }) {
  const [Content, setContent] = useState<ComponentType<ViewProps> | null>(null);
  const [failure, setFailure] = useState<'out of date' | 'no answer' | null>(null);
  // Without it, a view that throws would stay on the page as it was last, and do nothing any more.
  const [thrown, retry] = useErrorBoundary((error) => reportError(error));
  // Another thing of the same view may be whole.
  useEffect(() => retry, [props.id]);
  useEffect(() => {
    view.load().then(
      (module) => setContent(() => module.default),
      async () => setFailure((await isAnswering()) ? 'out of date' : 'no answer'),
    );
  }, [view]);
  if (failure === 'no answer') {
    const reload = async () => (await isAnswering()) && location.reload();
    return <Failure title="The server does not answer" text="It may be starting, or stopped." retry={reload} />;
  }
  // A new build has replaced the files of the one that this page is of.
  if (failure)
    return <Failure title="This page is out of date" text="Attune was updated." retry={() => location.reload()} />;
  if (thrown) return <Failure title={`${view.title} cannot be shown`} error={thrown} retry={retry} />;
  return Content ? <Content {...props} /> : <Loading />;
}

const isAnswering = () =>
  fetch('/status').then(
    () => true,
    () => false,
  );

function SignIn({ error, retry }: { error: ApiError; retry: () => void }) {
  if (error.status !== 401) return <Failure title="The console cannot reach the API" error={error} retry={retry} />;
  return (
    <Failure title="Sign in to the console" text="With a key that has the scope read; operate, to change something.">
      <a class="button primary" href="/sign-in">
        Sign in
      </a>
    </Failure>
  );
}
