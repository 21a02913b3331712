// How byte-level tokenizers split a text into words, by the names that llama.cpp's converter gives them in
// `tokenizer.ggml.pre`. The regular expressions are those of the models' own tokenizer.json.

type PreTokenizer = {
  names: readonly string[];
  /** One after the other. */
  patterns: readonly string[];
  ignoreMerges?: true;
  /** If the metadata does not say it; default: no. */
  addsBos?: true;
  /** Whether a text is brought into Unicode's composed form first, which llama.cpp leaves out; default: no. */
  isComposed?: true;
};

const DIGIT = '\\p{N}';
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** GPT-4's pattern, which ignores the case of contractions, keeps line breaks apart, and limits the length of numbers. */
function gpt4(number: string): string {
  return (
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" +
    `${number}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  );
}

export const PRE_TOKENIZERS: readonly PreTokenizer[] = [
  { names: ['gpt-2', 'phi-2', 'mpt', 'olmo'], patterns: [GPT2] },
  { names: ['smollm', 'starcoder', 'refact', 'command-r'], patterns: [DIGIT, GPT2] },
  {
    names: ['llama-bpe', 'llama3', 'llama-v3'],
    patterns: [gpt4('\\p{N}{1,3}')],
    ignoreMerges: true,
    addsBos: true,
  },
  { names: ['qwen2', 'deepseek-r1-qwen'], patterns: [gpt4('\\p{N}')], isComposed: true },
  { names: ['stablelm2'], patterns: [gpt4('\\p{N}')] },
];
