import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { listPlugins } from '../bundling/plugins.js'
import { flowsOf, type Part } from './flows.js'
import type { Recording } from './record.js'
import { marked, split } from './split.js'

// warm RECORDER SCRIPTS [EMULATOR...]: splits SCRIPTS by what usual calls run (split.ts) and makes their code caches:
// runs each as a runtime would and keeps what V8 had to compile, which is what a start should find ready, and nothing
// else. Meant for a host of its own
// (in-namespace); where a call fails, as on a kernel that lacks its kind of link, what it reached is kept. EMULATOR,
// with its options, runs a recorder for another processor than this one's.

const names = listPlugins(process.cwd()).map(({ name }) => name)

/** A folder where every plugin is the running program, so that IPAM runs in the same process as in the binary. */
function pluginFolder(folder: string, program: string): string {
  mkdirSync(folder, { recursive: true })
  for (const name of names) symlinkSync(program, path.join(folder, name))
  return folder
}

/** The scripts of all plugins, in the order in which their calls are made. */
const parts = names.flatMap((name) => [...flowsOf(name).keys()].map((part): [string, Part] => [name, part]))

/**
 * Runs the recorder as each plugin, on the script of each of its verbs. To the kernel, an emulated program is its
 * emulator.
 */
function record(
  plugins: string,
  recorder: string,
  scripts: string,
  emulator: readonly string[],
  marks: ReadonlyMap<string, number> = new Map(),
): void {
  const [program = recorder, ...options] = emulator
  const folder = pluginFolder(plugins, program)
  for (const [name, part] of parts) {
    const file = path.join(scripts, `${name}.${part}.js`)
    const recording: Recording = { plugin: name, file, flows: flowsOf(name).get(part) ?? [], marks: marks.get(name) }
    const words = emulator.length > 0 ? [...options, '-0', name, recorder] : []
    const { status, stderr } = spawnSync(program, words, {
      argv0: name,
      input: JSON.stringify(recording),
      env: { PATH: process.env['PATH'], CNI_PATH: folder },
      encoding: 'utf8',
    })
    if (status !== 0 || stderr !== '') throw new Error(`${name}: no code cache: ${stderr}`)
  }
}

/** Puts two or three files, NAME.PART.js, in the place of each NAME.js: split by what the calls of a part run. */
function splitScripts(scripts: string): void {
  const recorder = path.resolve('dist/recorder')
  const marks = new Map<string, number>()
  const [first, folder] = ['/run/first', '/run/marked']
  for (const made of [first, folder]) mkdirSync(made)
  for (const name of names) {
    const text = readFileSync(path.join(scripts, `${name}.js`), 'latin1')
    const one = marked(text)
    marks.set(name, one.marks)
    for (const [, part] of parts.filter(([of]) => of === name)) {
      writeFileSync(path.join(first, `${name}.${part}.js`), text)
      writeFileSync(path.join(folder, `${name}.${part}.js`), one.text)
    }
  }
  // The first time makes what later calls find there: tables, the bridge.
  record('/run/first-plugins', recorder, first, [])
  record('/run/marked-plugins', recorder, folder, [], marks)
  for (const name of names) {
    const whole = path.join(scripts, `${name}.js`)
    const text = readFileSync(whole, 'latin1')
    for (const [, part] of parts.filter(([of]) => of === name)) {
      const ran = Array.from(readFileSync(path.join(folder, `${name}.${part}.ran`)), (mark) => mark === 1)
      writeFileSync(path.join(scripts, `${name}.${part}.js`), split(text, ran))
    }
    rmSync(whole)
  }
}

const [recorder = 'dist/recorder', scripts = 'dist/scripts', ...emulator] = process.argv.slice(2)
if (existsSync(path.join(scripts, `${names[0]}.js`))) splitScripts(scripts)
else {
  // What is split already is not known here. This machine's own recorder makes what later calls find, quicker than an
  // emulated one.
  cpSync(scripts, '/run/first', { recursive: true })
  record('/run/first-plugins', path.resolve('dist/recorder'), '/run/first', [])
}
record('/run/plugins', path.resolve(recorder), path.resolve(scripts), emulator)
