import { readFileSync, writeSync } from 'node:fs'
import { systemFiles } from './exec/files.js'
import { createRunner } from './exec/run.js'
import { main } from './protocol/main.js'

/** Writes all of a text, also to a pipe that takes it in pieces; nothing here loads Node's streams (2.5 ms a start). */
function write(fd: number, text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'EAGAIN') continue
      if (fd === 1) exit(1, `Error writing error JSON to stdout: ${(thrown as Error).message}\n`)
      return
    }
  }
}

/** Leaves at once: an exit handler or an open handle would only cost time. */
function exit(status: number, lastWords = ''): never {
  if (lastWords !== '') write(2, lastWords)
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status)
}

const { env } = process
const trace = env['PODWIRE_TRACE']

main({
  argv0: process.argv0,
  env,
  stdin: () => readFileSync(0, 'utf8'),
  stdout: (text) => write(1, text),
  stderr: (text) => write(2, text),
  run: createRunner({
    ...(env['PATH'] ? { callerPath: env['PATH'] } : {}),
    ...(trace ? { trace } : {}),
    warn: (text) => write(2, text),
  }),
  files: systemFiles,
}).then(exit)
