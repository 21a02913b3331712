// The rating page: queues, and the arena. It is a client of the API, with the session of whoever looks at it.

import { render } from 'preact';
import { findTheme, showTheme } from '../theme.ts';
import { App } from './app.tsx';
import { forgetOldDrafts } from './draft.ts';

showTheme(findTheme());
forgetOldDrafts();
render(<App />, document.getElementById('page')!);
