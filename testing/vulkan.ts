// For tests: a Vulkan device to run on, be it a software one. Which libraries a process finds is settled when it starts,
// so a test that needs one runs its file again as a child with the environment that is found here.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

type Environment = Record<string, string>;

const DRIVER = 'vk_swiftshader_icd.json';
/** Browsers carry a Vulkan loader and SwiftShader, which computes on the CPU. */
const BROWSERS = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome', '/snap/chromium/current'];
// Debian 12's mesa-vulkan-drivers brings a software device too, but one that Dawn refuses.
export const HOW_TO_GET_ONE =
  'no Vulkan device; bring a software one: apt-get install chromium, or npm install --no-save @sparticuz/chromium';

/** What to add to the environment; null where nothing brings a device. */
export function findVulkan(): Environment | null {
  if (works({})) return {};
  const found = BROWSERS.map(swiftshader).find(works);
  if (found) return found;
  const unpacked = unpackPackage();
  return unpacked && works(swiftshader(unpacked)) ? swiftshader(unpacked) : null;
}

/** Runs a test file with this added to its environment. */
export function runWith(environment: Environment, file: string): { passed: boolean; output: string } {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const env = { ...inherited, ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--test-reporter=spec', file], {
    env,
    encoding: 'utf8',
  });
  return { passed: status === 0, output: stdout + stderr };
}

function swiftshader(folder: string): Environment {
  const driver = join(folder, DRIVER);
  return { LD_LIBRARY_PATH: folder, VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver };
}

/** The same two libraries out of an npm package that carries a browser, if it is installed. */
function unpackPackage(): string | null {
  let archive: string;
  try {
    const main = createRequire(import.meta.url).resolve('@sparticuz/chromium');
    archive = join(dirname(main), '..', 'bin', 'swiftshader.tar.br');
  } catch {
    return null;
  }
  const folder = mkdtempSync(join(tmpdir(), 'attune-vulkan-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const { status } = spawnSync('tar', ['-x', '-C', folder], { input: brotliDecompressSync(readFileSync(archive)) });
  return status === 0 ? folder : null;
}

function works(environment: Environment): boolean {
  const driver = environment.VK_DRIVER_FILES;
  if (driver && !existsSync(driver)) return false;
  const provider = new URL('../trainer/engine/execution-provider.ts', import.meta.url);
  const script = `import(${JSON.stringify(fileURLToPath(provider))}).then((m) => m.describeProvider({ TRAIN_PROVIDER: 'webgpu' }))`;
  return spawnSync(process.execPath, ['-e', script], { env: { ...process.env, ...environment } }).status === 0;
}
