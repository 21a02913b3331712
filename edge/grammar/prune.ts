// Removes what can never end: every instruction that is left can be completed, so that every state of the automaton is the
// beginning of a complete text. Least fixpoint by a worklist, as for productive symbols of a context-free grammar.
import { type Address, type Grammar, Op, STRIDE } from './program.ts';

/** `canSpell`: whether some token is this byte alone; default: every byte has one. */
export function prune(grammar: Grammar, canSpell: (byte: number) => boolean = () => true): Grammar {
  const code = grammar.code.slice();
  const isProductive = findProductive(code, canSpell);
  for (let address = 0; address < isProductive.length; address++) {
    const at = address * STRIDE;
    const [op, a, b] = [code[at]!, code[at + 1]!, code[at + 2]!];
    const set = (op: number, a: Address) => code.set([op, a, 0, 0, 0], at);
    if (!isProductive[address]) set(Op.fail, 0);
    else if (op === Op.split && !isProductive[a]) set(Op.jump, b);
    else if (op === Op.split && !isProductive[b]) set(Op.jump, a);
    else if (op === Op.repeat && !isProductive[a]) set(Op.jump, b);
  }
  return { ...grammar, code };
}

export function isFail({ code, start }: Grammar): boolean {
  return code[start * STRIDE] === Op.fail;
}

function findProductive(code: Int32Array, canSpell: (byte: number) => boolean): Uint8Array {
  const count = code.length / STRIDE;
  const isProductive = new Uint8Array(count);
  const dependents = collectDependents(code);
  const pending: Address[] = Array.from({ length: count }, (_, address) => address);
  const canSpellSome = (low: number, high: number) => {
    for (let byte = low; byte <= high; byte++) if (canSpell(byte)) return true;
    return false;
  };
  const evaluate = (address: Address): boolean => {
    const at = address * STRIDE;
    const [op, a, b, c] = [code[at]!, code[at + 1]!, code[at + 2]!, code[at + 3]!];
    if (op === Op.return) return true;
    if (op === Op.byte) return isProductive[c] === 1 && canSpellSome(a, b);
    if (op === Op.split) return isProductive[a] === 1 || isProductive[b] === 1;
    if (op === Op.call) return isProductive[a] === 1 && isProductive[b] === 1;
    if (op === Op.repeat) return isProductive[b] === 1 && (c === 0 || isProductive[a] === 1);
    return op === Op.jump && isProductive[a] === 1;
  };
  for (let address = pending.pop(); address !== undefined; address = pending.pop()) {
    if (isProductive[address] || !evaluate(address)) continue;
    isProductive[address] = 1;
    for (const dependent of dependents[address] ?? []) pending.push(dependent);
  }
  return isProductive;
}

/** For each instruction those that refer to it. */
function collectDependents(code: Int32Array): (Address[] | undefined)[] {
  const dependents: (Address[] | undefined)[] = new Array(code.length / STRIDE);
  const add = (target: Address, address: Address) => {
    dependents[target] ??= [];
    dependents[target].push(address);
  };
  for (let at = 0; at < code.length; at += STRIDE) {
    const [op, a, b, c] = [code[at]!, code[at + 1]!, code[at + 2]!, code[at + 3]!];
    const address = at / STRIDE;
    if (op === Op.byte) add(c, address);
    if (op === Op.split || op === Op.call || op === Op.repeat || op === Op.jump) add(a, address);
    if (op === Op.split || op === Op.call || op === Op.repeat) add(b, address);
  }
  return dependents;
}
