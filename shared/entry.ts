import { readFileSync, writeSync } from 'node:fs'
import { createFiles } from './exec/files.js'
import { appendTrace, createRunner, type Trace } from './exec/run.js'
import { createKernel } from './kernel/kernel.js'
import { within } from './plan/batch.js'
import type { Operation } from './plan/operation.js'
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
const file = env['PODWIRE_TRACE']
const trace: Trace | undefined = file ? { file, warn: (text) => write(2, text) } : undefined

/** A netlink request in the trace: the command it stands for. */
const traceOperation =
  trace &&
  (({ tool, argv, netns }: Operation) => {
    const done = { argv: within(netns, tool, ...argv), stdin: '', status: 0, stderr: '', netlink: true }
    appendTrace(trace, { time: new Date().toISOString(), ...done })
  })

main({
  argv0: process.argv0,
  env,
  stdin: () => readFileSync(0, 'utf8'),
  stdout: (text) => write(1, text),
  stderr: (text) => write(2, text),
  run: createRunner({ ...(env['PATH'] ? { callerPath: env['PATH'] } : {}), trace }),
  files: createFiles(),
  kernel: env['PODWIRE_NO_NETLINK'] ? undefined : createKernel(traceOperation),
}).then(exit, (thrown) => exit(1, `${thrown instanceof Error ? thrown.stack : thrown}\n`))
