import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redactPii } from './pii.ts';

const REDACTED: [string, string][] = [
  ['Mail ann.smith+x@example.co.uk, please.', 'Mail [EMAIL], please.'],
  ['From "Müller" <müller@example.de>.', 'From "Müller" <[EMAIL]>.'],
  ['postgres://admin:hunter2@db.example.com:5432/x', 'postgres://admin:[EMAIL]:5432/x'],
  ['call +1 (555) 123-4567 now', 'call [PHONE] now'],
  ['call (212) 456-7890 or 555-123-4567.', 'call [PHONE] or [PHONE].'],
  ['+44 20 7946 0958, +49 30 901820, +33 6 12 34 56 78, +919876543210', '[PHONE], [PHONE], [PHONE], [PHONE]'],
  ['card 4111 1111 1111 1111, exp 12/26', 'card [CARD], exp 12/26'],
  ['5500005555555559 and 3782 822463 10005', '[CARD] and [CARD]'],
  ['IBAN DE89 3704 0044 0532 0130 00', 'IBAN [IBAN]'],
  ['ES91 2100 0418 4502 0005 1332 BANK of Spain', '[IBAN] BANK of Spain'],
  ['gb29nwbk60161331926819', '[IBAN]'],
  ['SSN 078-05-1120.', 'SSN [SSN].'],
  ['from 192.168.10.24 and 2001:db8:85a3::8a2e:370:7334', 'from [IP] and [IP]'],
  ['OPENAI_API_KEY=sk-proj-abcdefghijklmnopqrstuvwxyz0123456789', 'OPENAI_API_KEY=[SECRET]'],
  [`Bearer sk-at-abcdefghijkl-${'A'.repeat(43)}`, 'Bearer [SECRET]'],
  ['AKIAIOSFODNN7EXAMPLE ghp_abcdefghijklmnopqrstuvwxyz0123456789', '[SECRET] [SECRET]'],
  ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U', '[SECRET]'],
  ['-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA==\n-----END RSA PRIVATE KEY-----\n', '[SECRET]\n'],
];

const KEPT = [
  'Once upon a time, in 1984, John Smith met Mary at 123 Main Street, Paris 75001.',
  'for (let i = 0; i < 1000000; i++) sum += a[i] * 3.14159265358979; x = 2125551234 + 1;',
  'const x: Map<string, number> = new Map(); // a::b, std::vector<std::string>::iterator',
  'import { a } from "@scope/pkg@1.2.3"; // git clone git@github.com:owner/repo.git',
  'listening on 127.0.0.1:8787 and 0.0.0.0, version 1.2.3, v10.0.0-beta.2',
  '2024-03-15 10:30:45, 15/03/2024, 03.15.2024, 2026-11-29T17:29:12Z, 2026-11-29 17:29:12 +0000, UTC+01:00',
  'timestamps 1767225600 and 1767225600000, order 1234567890123456, ISBN 978-3-16-148410-0',
  'pi = 3.14159265358979323846, population 8,336,817, price $1,299.99, +100 000, 2+2=4, 10-20-30',
  'id 0192f0c1-d2e3-7abc-9def-012345678901, chatcmpl-0192f0c1d2e37abc9def012345678901',
  'sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, mac de:ad:be:ef:00:01',
  'He ran 100 200 300 400 metres on lines 100-200; plates AB12 CD34 EF56; K1A 0B1',
  '@ann wrote to @bob about sk-learn, C++ and the password at 5pm',
  // A card and an IBAN with one wrong digit.
  '4111 1111 1111 1112, DE89 3704 0044 0532 0130 01',
  'what was redacted: [EMAIL] [PHONE] [CARD] [IBAN] [SSN] [IP] [SECRET]',
];

test('what identifies a person, and secrets, become placeholders', () => {
  for (const [text, expected] of REDACTED) assert.equal(redactPii(text), expected);
});

test('ordinary text, code, numbers and dates stay as they are', () => {
  for (const text of KEPT) assert.equal(redactPii(text), text);
});

test('every text among others is found, and the text around it stays', () => {
  const texts = REDACTED.map(([text]) => text);
  assert.equal(redactPii(texts.join('\n\n')), REDACTED.map(([, redacted]) => redacted).join('\n\n'));
});
