// Compiles a regular expression (ECMA 262) to a grammar of the contents of JSON strings that match it. As JSON Schema has
// it, a match may be anywhere in the text unless ^ and $ bind it. What looks around or back is refused: it is no part of a
// grammar without intersections.
import { type AST, RegExpParser } from '@eslint-community/regexpp';
import { type AttuneError, getErrorMessage } from '../../shared/error.ts';
import { type CodePoints, codePoints, complement, SURROGATES, union } from './code-points.ts';
import { ANY_CHARACTER, type JsonText } from './json-text.ts';
import type { Fragment } from './program.ts';
import { refuse } from './refuse.ts';

/** Longer ones nest more deeply than they can be read. */
const MAX_LENGTH = 1000;

const ESCAPES: Record<AST.EscapeCharacterSet['kind'], CodePoints> = {
  digit: [[0x30, 0x39]],
  word: union([[0x30, 0x39]], [[0x41, 0x5a]], [[0x5f, 0x5f]], [[0x61, 0x7a]]),
  space: union(codePoints('\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff'), [[0x2000, 0x200a]]),
};
const LINE_ENDS = codePoints('\n\r\u2028\u2029');

/** Throws an AttuneError with `path` if the pattern is invalid or has what is not supported. */
export function compilePattern(json: JsonText, source: string, path: string): Fragment {
  if (source.length > MAX_LENGTH) throw refuse(path, `it has ${source.length} characters; give at most ${MAX_LENGTH}`);
  return new PatternCompiler(json, path).compile(parse(source, path));
}

function parse(source: string, path: string): AST.Pattern {
  const parser = new RegExpParser();
  try {
    return parser.parsePattern(source, 0, source.length, { unicode: true });
  } catch (error) {
    try {
      // Some escapes are valid only without the flag u: \-.
      return parser.parsePattern(source, 0, source.length, { unicode: false });
    } catch {
      throw refuse(path, getErrorMessage(error));
    }
  }
}

class PatternCompiler {
  private readonly json: JsonText;
  private readonly path: string;

  constructor(json: JsonText, path: string) {
    this.json = json;
    this.path = path;
  }

  compile({ alternatives }: AST.Pattern): Fragment {
    const { builder } = this.json;
    const any = builder.repeat(this.json.characterOf(ANY_CHARACTER), 0);
    const isAnchor = (element: AST.Element | undefined, kind: 'start' | 'end') =>
      element?.type === 'Assertion' && element.kind === kind;
    const fragments = alternatives.map(({ elements }) => {
      const isStart = isAnchor(elements[0], 'start');
      const isEnd = isAnchor(elements.at(-1), 'end');
      const inner = elements.slice(isStart ? 1 : 0, isEnd ? -1 : undefined);
      return builder.sequence(...(isStart ? [] : [any]), this.compileElements(inner), ...(isEnd ? [] : [any]));
    });
    return builder.either(...fragments);
  }

  private compileElements(elements: AST.Element[]): Fragment {
    return this.json.builder.sequence(...elements.map((element) => this.compileElement(element)));
  }

  private compileElement(element: AST.Element): Fragment {
    const { builder } = this.json;
    if (element.type === 'Group' && element.modifiers) throw this.refuseElement(element);
    if (element.type === 'Group' || element.type === 'CapturingGroup')
      return builder.either(...element.alternatives.map(({ elements }) => this.compileElements(elements)));
    if (element.type === 'Quantifier')
      return builder.repeat(this.compileElement(element.element), element.min, element.max);
    if (element.type === 'Assertion') throw this.refuseElement(element);
    return this.json.characterOf(this.toCodePoints(element));
  }

  private toCodePoints(element: AST.Element | AST.CharacterClassElement): CodePoints {
    if (element.type === 'Character') {
      if (element.value >= SURROGATES[0]![0] && element.value <= SURROGATES[0]![1]) throw this.refuseElement(element);
      return [[element.value, element.value]];
    }
    if (element.type === 'CharacterClassRange') return [[element.min.value, element.max.value]];
    if (element.type === 'CharacterSet') {
      if (element.kind === 'any') return complement(LINE_ENDS);
      if (element.kind === 'property') throw this.refuseElement(element);
      return element.negate ? complement(ESCAPES[element.kind]) : ESCAPES[element.kind];
    }
    if (element.type !== 'CharacterClass') throw this.refuseElement(element);
    const set = union(...element.elements.map((part) => this.toCodePoints(part as AST.CharacterClassElement)));
    return element.negate ? complement(set) : set;
  }

  private refuseElement({ raw, start }: { raw: string; start: number }): AttuneError {
    return refuse(
      this.path,
      `${raw} at character ${start} is not supported; use characters, classes, groups, quantifiers, and ^ and $ at the ends`,
    );
  }
}
