// REDACT=pii: replaces what identifies or endangers a person by a placeholder, such as [EMAIL]. A pattern only finds
// candidates, and validator.js decides by checksums and grammars, so that code, dates and other numbers stay. Names and
// addresses are not found: no pattern tells them from other words.

import validator from 'validator';

type Kind = {
  placeholder: string;
  /** Linear in the length of a text: every repetition is bounded or has one way to match. */
  pattern: RegExp;
  /** How much of a candidate is redacted, from its start; 0: none of it. Default: all. */
  measure?(candidate: string): number;
};

/** In the order in which they are replaced: a card number may look like a part of an IBAN. */
const KINDS: Kind[] = [
  {
    placeholder: '[SECRET]',
    pattern: /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\w+/=\s]{1,8192}(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?/g,
  },
  {
    // Of OpenAI and Attune, AWS, GitHub, GitLab, Slack, Google, Hugging Face, npm and Stripe.
    placeholder: '[SECRET]',
    pattern:
      /(?<![\w-])(?:sk-[\w-]{20,200}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[opsur]_\w{36,255}|github_pat_\w{36,255}|glpat-[\w-]{20,64}|xox[abeoprs]-[\w-]{10,255}|AIza[\w-]{35}|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|[rs]k_(?:live|test)_\w{16,255})(?![\w-])/g,
  },
  {
    placeholder: '[SECRET]',
    pattern: /(?<![\w-])eyJ[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]{8,2048}/g,
    measure: all(validator.isJWT),
  },
  {
    placeholder: '[EMAIL]',
    // Not the address of a git remote, which is nobody's.
    pattern: /(?<![\p{L}\p{N}.+_%-])(?!git@)[\p{L}\p{N}.+_%'-]{1,64}@(?:[\p{L}\p{N}-]{1,63}\.){1,8}\p{L}{2,63}/gu,
    measure: all((candidate) => validator.isEmail(candidate)),
  },
  {
    placeholder: '[IBAN]',
    pattern: /(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){3,8}(?![A-Z0-9])/gi,
    measure: measureIban,
  },
  {
    placeholder: '[CARD]',
    pattern: /(?<![\w.-])(?:\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -]?)\d{6}\2\d{4,5})(?![\w]|[.-]\d)/g,
    measure: all((candidate) => validator.isCreditCard(candidate)),
  },
  {
    placeholder: '[SSN]',
    pattern: /(?<![\w.-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w]|[.-]\d)/g,
  },
  {
    // With a country code, and 7 to 15 digits as in E.164.
    placeholder: '[PHONE]',
    pattern: /(?<![\w+])\+[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,14}\)?){1,6}(?!\w)/g,
    measure: all((candidate) => /^\d{8,15}$/.test(candidate.replaceAll(/\D/g, ''))),
  },
  {
    // As written in North America.
    placeholder: '[PHONE]',
    pattern: /(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?\d{3}[ .-]|[2-9]\d{2}([ .-])\d{3}\1)\d{4}(?![\w]|[.-]\d)/g,
  },
  {
    // Not this machine's own addresses, which are no person's.
    placeholder: '[IP]',
    pattern: /(?<![\w.])(?!127\.|0\.)(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)/g,
    measure: all((candidate) => validator.isIP(candidate, 4)),
  },
  {
    placeholder: '[IP]',
    pattern: /(?<![\w:.])(?:[0-9a-f]{1,4}:{1,2}){2,7}[0-9a-f]{1,4}(?![\w:])/gi,
    measure: all((candidate) => validator.isIP(candidate, 6)),
  },
];

export function redactPii(text: string): string {
  return KINDS.reduce(
    (redacted, { placeholder, pattern, measure }) =>
      redacted.replace(pattern, (candidate) => {
        const length = measure ? measure(candidate) : candidate.length;
        return length === 0 ? candidate : placeholder + candidate.slice(length);
      }),
    text,
  );
}

function all(isValid: (candidate: string) => boolean) {
  return (candidate: string) => (isValid(candidate) ? candidate.length : 0);
}

/** The pattern may have taken words that follow an IBAN. */
function measureIban(candidate: string): number {
  for (let iban = candidate; iban !== ''; iban = iban.replace(/(?:^|[ -])[A-Z0-9]*$/i, ''))
    if (validator.isIBAN(iban)) return iban.length;
  return 0;
}
