import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { listPlugins } from '../bundling/plugins.js'
import { bindLibrary } from './prelink.js'

/** Gives files their names in `folder`, each swapped in whole, and removes names that are none any more. */
function linkNames(folder: string, names: ReadonlyMap<string, string>): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, file] of names) {
    const unfinished = path.join(folder, `.${name}.new`)
    rmSync(unfinished, { force: true })
    linkSync(file, unfinished)
    renameSync(unfinished, path.join(folder, name))
  }
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => !entry.isDirectory())
  for (const { name } of files) if (!names.has(name)) rmSync(path.join(folder, name))
}

/**
 * Puts the libraries beside the names, as an installation has them; without any there, the binaries take the host's.
 */
function copyLibraries(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  if (existsSync(from)) cpSync(from, to, { recursive: true })
}

/**
 * Fails unless VERSION answers JSON and says nothing on stderr, where V8 reports a code cache made under other flags.
 */
function checkStart(binary: string, name: string, [emulator, ...options]: readonly string[]): void {
  const call = { argv0: name, env: { CNI_COMMAND: 'VERSION' }, input: '{"cniVersion":"1.1.0"}' }
  const words = emulator === undefined ? [] : [...options, '-0', name, binary]
  const { status, signal, stdout, stderr } = spawnSync(emulator ?? binary, words, { ...call, encoding: 'utf8' })
  if (status !== 0 || stderr !== '') throw new Error(`${name} VERSION: ${signal ?? `exit ${status}`}\n${stderr}`)
  JSON.parse(stdout)
}

// link FOLDER PROGRAM [EMULATOR...]: gives FOLDER/podwire its names in FOLDER/bin, and the program for people the name
// podwire. EMULATOR runs binaries for another processor, with its options.
const [folder = 'dist', program = 'dist/program', ...emulator] = process.argv.slice(2)
const [binary, bin] = [path.join(folder, 'podwire'), path.join(folder, 'bin')]
const names = listPlugins(process.cwd()).map(({ name }) => name)
for (const name of [...names, 'x-bridge', 'unknown']) checkStart(binary, name, emulator)
const libraries = path.join(folder, 'podwire-lib')
if (existsSync(libraries)) bindLibrary(path.join(libraries, 'libstdc++.so.6'), [binary, program])
copyLibraries(libraries, path.join(bin, 'podwire-lib'))
linkNames(bin, new Map([...names.map((name) => [name, binary] as const), ['podwire', program]]))
console.log(`${bin}: ${names.join(' ')} podwire`)
