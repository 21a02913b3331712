// The rating page.

import { render } from 'preact';

render(<main>Rate</main>, document.getElementById('page')!);
