// What the playground sent, as a command and as a program with OpenAI's clients.

export type Language = 'curl' | 'python' | 'javascript';

export const LANGUAGES = [
  ['curl', 'cURL'],
  ['python', 'Python'],
  ['javascript', 'JavaScript'],
] as const;

type Body = Record<string, unknown>;

/** `needsKey`: a server without API_KEY asks for none, and the clients want some text. */
export function writeCode(language: Language, origin: string, body: Body, needsKey: boolean): string {
  if (language === 'curl') return writeCurl(origin, body, needsKey);
  return language === 'python' ? writePython(origin, body, needsKey) : writeJavaScript(origin, body, needsKey);
}

function writeCurl(origin: string, body: Body, needsKey: boolean): string {
  const json = JSON.stringify({ ...body, stream: true }, null, 2).replaceAll("'", `'\\''`);
  const key = needsKey ? ` \\\n  -H "authorization: Bearer $ATTUNE_API_KEY"` : '';
  return `curl -N ${origin}/v1/chat/completions${key} \\\n  -H 'content-type: application/json' \\\n  -d '${json}'`;
}

function writePython(origin: string, body: Body, needsKey: boolean): string {
  const key = needsKey ? 'os.environ["ATTUNE_API_KEY"]' : '"unused"';
  const fields = Object.entries({ ...body, stream: true }).map(([name, value]) => `    ${name}=${toPython(value, 1)},`);
  return `${needsKey ? 'import os\n\n' : ''}from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=${key})
stream = client.chat.completions.create(
${fields.join('\n')}
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

function writeJavaScript(origin: string, body: Body, needsKey: boolean): string {
  const key = needsKey ? 'process.env.ATTUNE_API_KEY' : `'unused'`;
  const json = JSON.stringify({ ...body, stream: true }, null, 2).replaceAll(/^( *)"(\w+)":/gm, '$1$2:');
  return `import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: ${key} });
const stream = await client.chat.completions.create(${json});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '');
`;
}

/** JSON’s texts and numbers are Python’s too. */
function toPython(value: unknown, depth: number): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const parts = Array.isArray(value)
    ? value.map((part) => toPython(part, depth + 1))
    : Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${toPython(part, depth + 1)}`);
  if (parts.length === 0) return open + close;
  const line = `${open}${parts.join(', ')}${close}`;
  if (line.length < 80 && !line.includes('\n')) return line;
  const indent = '    '.repeat(depth);
  return `${open}\n${parts.map((part) => `${indent}    ${part},\n`).join('')}${indent}${close}`;
}
