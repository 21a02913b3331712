import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toUnsafeHtml } from './parse.ts';

test('raw HTML is shown as the text that it is', () => {
  assert.equal(toUnsafeHtml('a <b>c</b>').trim(), '<p>a &lt;b&gt;c&lt;/b&gt;</p>');
  assert.match(toUnsafeHtml('<script>alert(1)</script>'), /^&lt;script&gt;/);
});

test('an image is a link, so that nothing is loaded from another site', () => {
  assert.equal(
    toUnsafeHtml('![cat](https://a.example/c.png)').trim(),
    '<p><a href="https://a.example/c.png">cat</a></p>',
  );
});

test('formulas are marked, and prices are not', () => {
  for (const formula of ['$x^2$', '\\(x^2\\)'])
    assert.match(toUnsafeHtml(formula), /<span class="formula">x\^2<\/span>/);
  for (const formula of ['$$x_1 * y_1 * z$$', '\\[x_1 * y_1 * z\\]'])
    assert.match(toUnsafeHtml(formula), /<span class="formula block">x_1 \* y_1 \* z<\/span>/);
  assert.doesNotMatch(toUnsafeHtml('It costs $5, not $10 or $15.'), /formula/);
  assert.doesNotMatch(toUnsafeHtml('`$x$`'), /formula/);
});

test('headings are below those of the page', () => {
  assert.equal(toUnsafeHtml('# One').trim(), '<h3>One</h3>');
});

test('a text of many openings takes no time', () => {
  const start = performance.now();
  for (const piece of ['$a', '\\(', '$$', '[', '*a ', '`']) toUnsafeHtml(piece.repeat(10_000));
  assert.ok(performance.now() - start < 5000, `${performance.now() - start} ms`);
});
