import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { listPlugins } from '../bundling/plugins.js'
import { flowsOf } from './flows.js'
import type { Recording } from './record.js'

// warm RECORDER SCRIPTS [EMULATOR...]: makes the code caches of SCRIPTS: runs each script as a runtime would and keeps
// what V8 had to compile, which is what a start should find ready, and nothing else. Meant for a host of its own
// (in-namespace); where a call fails, as on a kernel that lacks its kind of link, what it reached is kept. EMULATOR,
// with its options, runs a recorder for another processor than this one's.

const names = listPlugins(process.cwd()).map(({ name }) => name)

/** A folder where every plugin is the running program, so that IPAM runs in the same process as in the binary. */
function pluginFolder(folder: string, program: string): string {
  mkdirSync(folder, { recursive: true })
  for (const name of names) symlinkSync(program, path.join(folder, name))
  return folder
}

/** Runs the recorder as each plugin. To the kernel, an emulated program is its emulator. */
function record(plugins: string, recorder: string, scripts: string, emulator: readonly string[]): void {
  const [program = recorder, ...options] = emulator
  const folder = pluginFolder(plugins, program)
  for (const [name, flows] of names.flatMap((one) => flowsOf(one).map((flows) => [one, flows] as const))) {
    const recording: Recording = { plugin: name, file: path.join(scripts, `${name}.js`), flows }
    const words = emulator.length > 0 ? [...options, '-0', name, recorder] : []
    const { status, stderr } = spawnSync(program, words, {
      argv0: name,
      input: JSON.stringify(recording),
      env: { PATH: process.env['PATH'], CNI_PATH: folder, CNI_IFNAME: 'eth0', CNI_CONTAINERID: 'container' },
      encoding: 'utf8',
    })
    if (status !== 0 || stderr !== '') throw new Error(`${name}: no code cache: ${stderr}`)
  }
}

const [recorder = 'dist/recorder', scripts = 'dist/scripts', ...emulator] = process.argv.slice(2)
// The first time makes what later calls find there: tables, the bridge. This machine's own recorder does it, quicker
// than an emulated one.
cpSync(scripts, '/run/first', { recursive: true })
record('/run/first-plugins', path.resolve('dist/recorder'), '/run/first', [])
record('/run/plugins', path.resolve(recorder), path.resolve(scripts), emulator)
