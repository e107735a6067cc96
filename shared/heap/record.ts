import { stateRoot } from '../exec/state.js'
import type { Invocation, Script } from '../start.js'
import { compile } from '../system/node.js'
import type { Flow } from './flows.js'

// The script of a binary that records instead of a plugin's (warm.ts): runs a plugin's script once for each flow, in
// this process, and writes V8's code of all the functions that ran beside it. From the saved heap of the binary, or its
// starts would refuse it. What VERSION answered is written, too: it is the same at every call.

/** What a recorder reads on stdin. */
export interface Recording {
  readonly plugin: string
  /** The plugin's script, NAME.VERB.js; NAME.VERB.cache is written, and NAME.version where a flow asks for it. */
  readonly file: string
  readonly flows: readonly Flow[]
  /** How many functions the script notes in `told.ran` when they run (split.ts); NAME.VERB.ran gets a byte each. */
  readonly marks?: number | undefined
}

declare const told: Invocation

const fs = require('node:fs') as typeof import('node:fs')
const { readFileSync, writeSync } = fs
const { plugin, file, flows, marks } = JSON.parse(readFileSync(0, 'utf8')) as Recording
const script = compile<Script>(readFileSync(file, 'latin1'), file)
const waiting = flows.values()
const ran = marks === undefined ? undefined : new Uint8Array(marks)
let output = ''

/** The script's own standard output and end; all else is real. */
Object.assign(fs, {
  writeSync: (...words: Parameters<typeof writeSync>) => {
    const [fd, data] = words
    if (fd > 2) return writeSync(...words)
    if (fd === 1) output += data.toString()
    return data.length
  },
})
Object.assign(process, { reallyExit: ended })

/** A call that failed shows only a part of what a successful one runs: then all counts as run. */
function ended(status: number): void {
  if (status !== 0) ran?.fill(1)
  if (process.env['CNI_COMMAND'] === 'VERSION') fs.writeFileSync(`${file.split('.')[0]}.version`, output)
  Promise.resolve().then(next)
}

function beside(extension: string): string {
  return file.replace(/js$/, extension)
}

function next(): void {
  const flow = waiting.next().value
  if (!flow) {
    fs.writeFileSync(beside('cache'), script.createCachedData())
    if (ran) fs.writeFileSync(beside('ran'), ran)
    return
  }
  const { command, netns, containerID, ifName, config, records } = flow
  output = ''
  if (records !== undefined) fs.rmSync(stateRoot, { recursive: true, force: true })
  if (records === 'empty') fs.mkdirSync(stateRoot, { mode: 0o700 })
  Object.assign(process.env, {
    CNI_COMMAND: command,
    CNI_NETNS: netns,
    CNI_CONTAINERID: containerID,
    CNI_IFNAME: ifName,
  })
  const stdin = () => JSON.stringify(config)
  script.run(require, { plugin, stdin, sha512: told.sha512, libc: told.libc, become: () => undefined, ran })
}

next()
