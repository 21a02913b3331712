// A Vulkan device for tests, hardware or software. The loader's search path is fixed when a process starts, so a test
// that needs a device runs its file again in a child process with the environment from findVulkan.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

type Environment = Record<string, string>;

const DRIVER = 'vk_swiftshader_icd.json';
/** Folders of browsers, which contain a Vulkan loader and SwiftShader, a Vulkan device on the CPU. */
const BROWSERS = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome', '/snap/chromium/current'];
// Debian 12's mesa-vulkan-drivers has a software device too, but Dawn rejects it.
export const VULKAN_INSTALL_HINT =
  'no Vulkan device; install a software one: apt-get install chromium, or npm install --no-save @sparticuz/chromium';

/** The variables to add to the environment; null where there is no device. */
export function findVulkan(): Environment | null {
  if (hasWebgpu({})) return {};
  const fromBrowser = BROWSERS.map(swiftshader).find(hasWebgpu);
  if (fromBrowser) return fromBrowser;
  const unpacked = unpackPackage();
  return unpacked && hasWebgpu(swiftshader(unpacked)) ? swiftshader(unpacked) : null;
}

/** Runs a test file in a child process with these variables added to its environment. */
export function runTestFile(environment: Environment, file: string): { passed: boolean; output: string } {
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

/** Unpacks the same two libraries from an npm package of a browser, if it is installed. */
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

function hasWebgpu(environment: Environment): boolean {
  const driver = environment.VK_DRIVER_FILES;
  if (driver && !existsSync(driver)) return false;
  const providerModule = new URL('../trainer/engine/execution-provider.ts', import.meta.url);
  const script = `import(${JSON.stringify(fileURLToPath(providerModule))}).then((m) => m.describeProvider({ TRAIN_PROVIDER: 'webgpu' }))`;
  return spawnSync(process.execPath, ['-e', script], { env: { ...process.env, ...environment } }).status === 0;
}
