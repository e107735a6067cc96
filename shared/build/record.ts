import fs from 'node:fs'
import { createRequire } from 'node:module'
import { Script } from 'node:vm'
import type { Flow } from './flows.js'

// record SCRIPT.js, with flows on stdin: runs the script once for each flow, in this process, and writes SCRIPT.cache: V8's code of all the
// functions that ran. Under the flags of a start (flags.ts), or the start would refuse it. What VERSION answered goes to SCRIPT.version: it
// is the same at every call.

const [file = ''] = process.argv.slice(2)
const flows = JSON.parse(fs.readFileSync(0, 'utf8')) as Flow[]
const script = new Script(fs.readFileSync(file, 'latin1'), { filename: file })
const run = script.runInThisContext() as (require: NodeJS.Require) => void
const require = createRequire(import.meta.url)
const { readFileSync, writeSync } = fs
let [input, output] = ['', '']

/** The script's own standard input, output and end; all else is real. */
Object.assign(fs, {
  readFileSync: (...words: Parameters<typeof readFileSync>) => (words[0] === 0 ? input : readFileSync(...words)),
  writeSync: (...words: Parameters<typeof writeSync>) => {
    const [fd, data] = words
    if (fd > 2) return writeSync(...words)
    if (fd === 1) output += data.toString()
    return data.length
  },
})
Object.assign(process, { emitWarning: () => undefined, reallyExit: ended })

function ended(): void {
  if (process.env['CNI_COMMAND'] === 'VERSION') fs.writeFileSync(beside('version'), output)
  setImmediate(next)
}

function beside(extension: string): string {
  return file.replace(/js$/, extension)
}

function next(): void {
  const flow = flows.shift()
  if (!flow) {
    fs.writeFileSync(beside('cache'), script.createCachedData())
    return
  }
  const { command, netns, config } = flow
  input = JSON.stringify(config)
  output = ''
  Object.assign(process.env, { CNI_COMMAND: command, CNI_NETNS: netns })
  run(require)
}

next()
