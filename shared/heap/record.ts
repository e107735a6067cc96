import { cacheOf, type Script } from '../start.js'
import { compile } from '../system/node.js'
import type { Flow } from './flows.js'

// The script of a binary that records instead of a plugin's (warm.ts): runs a plugin's script once for each flow, in
// this process, and writes V8's code of all the functions that ran beside it. From the saved heap of the binary, or its
// starts would refuse it. What VERSION answered is written, too: it is the same at every call.

/** What a recorder reads on stdin. */
export interface Recording {
  readonly plugin: string
  /** The plugin's script, NAME.js; NAME.version and the cache of the last flow's verb are written. */
  readonly file: string
  readonly flows: readonly Flow[]
}

const fs = require('node:fs') as typeof import('node:fs')
const { readFileSync, readSync, writeSync } = fs
const { plugin, file, flows } = JSON.parse(readFileSync(0, 'utf8')) as Recording
const script = compile<Script>(readFileSync(file, 'latin1'), file)
const waiting = flows.values()
let [input, output] = [Buffer.alloc(0), '']

/** The script's own standard input, output and end; all else is real. */
Object.assign(fs, {
  readSync: (...words: Parameters<typeof readSync>) => {
    if (words[0] !== 0) return readSync(...words)
    const length = input.copy(words[1] as Buffer)
    input = input.subarray(length)
    return length
  },
  writeSync: (...words: Parameters<typeof writeSync>) => {
    const [fd, data] = words
    if (fd > 2) return writeSync(...words)
    if (fd === 1) output += data.toString()
    return data.length
  },
})
Object.assign(process, { reallyExit: ended })

function ended(): void {
  if (process.env['CNI_COMMAND'] === 'VERSION') fs.writeFileSync(beside('version'), output)
  Promise.resolve().then(next)
}

function beside(extension: string): string {
  return file.replace(/js$/, extension)
}

function next(): void {
  const flow = waiting.next().value
  if (!flow) {
    fs.writeFileSync(beside(cacheOf(process.env['CNI_COMMAND'])), script.createCachedData())
    return
  }
  const { command, netns, config } = flow
  input = Buffer.from(JSON.stringify(config))
  output = ''
  Object.assign(process.env, { CNI_COMMAND: command, CNI_NETNS: netns })
  script.run(require, { plugin, become: () => undefined })
}

next()
