// The console: what the loop is doing, and what steers it. It is a client of the API, with the session of whoever looks at it.

import { render } from 'preact';
import { findTheme, showTheme } from '../theme.ts';
import { App } from './app.tsx';

showTheme(findTheme());
render(<App />, document.getElementById('page')!);
