export async function runDemo(_options: { url: string; apiKey?: string; out: string; log: (line: string) => void }): Promise<void> {}
