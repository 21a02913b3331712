// Extracts TensorFlow's libraries and headers from the wheels of the Python package index. pip downloads them from the
// index that it is configured with, and Python unpacks them.
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError } from '../../../../shared/error.ts';
import { type AddonKind, VERSIONS } from './addon.ts';
import { run } from './build-tools.ts';

const DISTRIBUTIONS: Record<AddonKind, string> = { cpu: 'tensorflow-cpu', gpu: 'tensorflow' };
export const LIBRARIES = { main: 'libtensorflow_cc.so.2', framework: 'libtensorflow_framework.so.2' };
/** The headers that the addon's sources include, out of 13,000. */
const HEADERS = ['tensorflow/c/', 'tensorflow/core/platform/', 'tsl/platform/', 'xla/tsl/c/'];
// The C library does not depend on the Python version, and for a recent Python there may be no wheel, so the version is
// fixed.
const TARGET = [
  ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--only-binary', ':all:', '--no-deps'],
  ...['manylinux_2_27', 'manylinux_2_17', 'manylinux2014'].flatMap((name) => ['--platform', `${name}_x86_64`]),
];

const PRINT_METADATA = `
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
print(wheel.read(next(name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))).decode())
`;
const EXTRACT = `
import os, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
for item in wheel.infolist():
    if item.filename.startswith(tuple(sys.argv[3:])):
        file = wheel.extract(item, sys.argv[2])
        if item.external_attr >> 16: os.chmod(file, item.external_attr >> 16)  # ptxas is a program
`;

/** Downloads the wheels that are not in the folder yet. */
export async function downloadWheels(python: string, kind: AddonKind, folder: string): Promise<void> {
  const name = DISTRIBUTIONS[kind];
  await download(python, folder, [`${name}==${VERSIONS.tensorflow}`]);
  if (kind === 'cpu') return;
  const wheel = (await readdir(folder)).find((file) => file.startsWith(`${name}-`))!;
  await download(
    python,
    folder,
    parseCudaRequirements(await run([python, '-c', PRINT_METADATA, path.join(folder, wheel)])),
  );
}

/** The CUDA packages of `tensorflow[and-cuda]`, from the metadata of its wheel. */
export function parseCudaRequirements(metadata: string): string[] {
  const lines = metadata.matchAll(/^Requires-Dist: *(nvidia-[^;]+?) *;.*extra *== *["']and-cuda["']/gm);
  const requirements = Array.from(lines, ([, requirement]) => requirement!);
  if (requirements.length === 0)
    throw new Error('internal: tensorflow: the metadata of the wheel names no CUDA packages');
  return requirements;
}

/** Fills `deps` with lib and include for the addon, and nvidia for the libraries, whose RUNPATH has ../nvidia. */
export async function unpackWheels(python: string, wheels: string, deps: string): Promise<void> {
  await rm(deps, { recursive: true, force: true });
  const lib = path.join(deps, 'lib');
  await mkdir(lib, { recursive: true });
  const libraries = Object.values(LIBRARIES);
  const prefixes = [
    ...libraries.map((name) => `tensorflow/${name}`),
    ...HEADERS.map((folder) => `tensorflow/include/${folder}`),
    'nvidia/',
  ];
  for (const wheel of await readdir(wheels))
    await run([python, '-c', EXTRACT, path.join(wheels, wheel), deps, ...prefixes]);
  for (const name of libraries) {
    await rename(path.join(deps, 'tensorflow', name), path.join(lib, name));
    // Optional: debug symbols are a quarter of the library.
    await run(['strip', '--strip-unneeded', path.join(lib, name)]).catch(() => {});
  }
  await rename(path.join(deps, 'tensorflow', 'include'), path.join(deps, 'include'));
  await rm(path.join(deps, 'tensorflow'), { recursive: true });
}

async function download(python: string, folder: string, requirements: string[]): Promise<void> {
  const command = [python, '-m', 'pip', 'download', '--dest', folder, ...TARGET, ...requirements];
  await run(command, { isShown: process.stdout.isTTY }).catch((error: Error) => {
    throw new AttuneError(
      `tensorflow: pip cannot download ${requirements.join(', ')}; check that it reaches an index (pip config list): ${error.message}`,
      { code: 'download_failed' },
    );
  });
}
