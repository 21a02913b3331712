import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formula } from './formula.ts';

test('subscripts and superscripts become markup, also when nested', () => {
  assert.equal(String(formula('π_ref e^{f_w}/Z')), 'π<sub>ref</sub> e<sup>f<sub>w</sub></sup>/Z');
  assert.equal(String(formula('Σ_t r*, e^r')), 'Σ<sub>t</sub> r*, e<sup>r</sup>');
});

test('other text is escaped', () => {
  assert.equal(String(formula('a < b & "c"')), 'a &lt; b &amp; &quot;c&quot;');
});
