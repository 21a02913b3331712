// Compiles the addon in a copy of its sources, by their own recipe (binding.gyp), with node-gyp.
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { run, type Tools } from './build-tools.ts';
import { LIBRARIES } from './wheels.ts';

const require = createRequire(import.meta.url);

/** @param folder holds deps/lib and deps/include; only deps/include and what building leaves behind is removed */
export async function buildAddon({ nodeGyp, nodeFolder }: Tools, folder: string, file: string): Promise<void> {
  const source = path.dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  const at = (...names: string[]) => path.join(folder, ...names);
  for (const name of ['binding', 'binding.gyp'])
    await cp(path.join(source, name), at(name), { recursive: true, force: true });
  await separateThreads(at('binding', 'tfjs_backend.cc'));
  // As the linker looks for them; the addon itself then asks for the names that the libraries give themselves.
  const links = { 'libtensorflow.so': LIBRARIES.main, 'libtensorflow_framework.so': LIBRARIES.framework };
  for (const [link, library] of Object.entries(links)) await symlink(library, at('deps', 'lib', link));
  // What node-pre-gyp would say.
  const variables = ['--module_name=tfjs_binding', '--module_path=./lib/napi-v8', '--napi_build_version=8'];
  await run([process.execPath, nodeGyp, 'rebuild', `--nodedir=${nodeFolder}`, ...variables], { cwd: folder });
  await mkdir(path.dirname(file), { recursive: true });
  await cp(at('build', 'Release', 'tfjs_binding.node'), file);
  for (const link of Object.keys(links)) await rm(at('deps', 'lib', link));
  for (const name of ['binding', 'binding.gyp', 'build', 'deps/include']) await rm(at(name), { recursive: true });
}

/** Two engines compute in two threads of one process, and the addon keeps one table of names for both without a lock. */
async function separateThreads(file: string): Promise<void> {
  const table = 'static std::set<std::string> ATTR_NAME_SET;';
  const before = await readFile(file, 'utf8');
  if (!before.includes(table)) throw new Error(`internal: tensorflow: ${file} is not the source that was expected`);
  await writeFile(file, before.replace(table, table.replace('static', 'static thread_local')));
}
