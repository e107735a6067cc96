import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { listPlugins } from '../bundling/plugins.js'
import { flowsOf } from './flows.js'
import type { Recording } from './record.js'

// warm RECORDER: makes the code caches: runs each script as a runtime would and keeps what V8 had to compile, which is
// what a start should find ready, and nothing else. Meant for a host of its own (in-namespace); where a call fails, as
// on a kernel that lacks its kind of link, what it reached is kept.

const scripts = path.resolve('dist/scripts')
const recorder = path.resolve(process.argv[2] ?? 'dist/recorder')

/** A folder where every plugin is the recorder, so that IPAM runs in the same process as in the binary. */
function pluginFolder(names: readonly string[]): string {
  const folder = '/run/plugins'
  mkdirSync(folder, { recursive: true })
  for (const name of names) symlinkSync(recorder, path.join(folder, name))
  return folder
}

const names = listPlugins(process.cwd()).map(({ name }) => name)
const folder = pluginFolder(names)
// The first time makes what later calls find there: tables, the bridge.
for (const _ of ['first', 'as always']) {
  for (const name of names) {
    const recording: Recording = { plugin: name, file: path.join(scripts, `${name}.js`), flows: flowsOf(name) }
    const { status, stderr } = spawnSync(recorder, [], {
      argv0: name,
      input: JSON.stringify(recording),
      env: { PATH: process.env['PATH'], CNI_PATH: folder, CNI_IFNAME: 'eth0', CNI_CONTAINERID: 'container' },
      encoding: 'utf8',
    })
    if (status !== 0 || stderr !== '') throw new Error(`${name}: no code cache: ${stderr}`)
  }
}
