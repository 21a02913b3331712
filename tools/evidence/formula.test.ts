import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formula } from './formula.ts';

test('indices and exponents are set as such, also within one another', () => {
  assert.equal(formula('π_ref e^{f_w}/Z').text, 'π<sub>ref</sub> e<sup>f<sub>w</sub></sup>/Z');
  assert.equal(formula('Σ_t r*, e^r').text, 'Σ<sub>t</sub> r*, e<sup>r</sup>');
});

test('what is not a formula is text', () => {
  assert.equal(formula('a < b & "c"').text, 'a &lt; b &amp; &quot;c&quot;');
});
