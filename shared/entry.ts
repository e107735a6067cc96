import { countError } from './exec/error-count.js'
import { createFiles } from './exec/files.js'
import { appendTrace, createRunner, type Trace } from './exec/run.js'
import { createNetlink } from './netlink/driver.js'
import type { Operation } from './plan/operation.js'
import { main } from './program/main.js'
import type { Invocation } from './start.js'
import { answer, exit, say } from './system/standard.js'
import { within } from './tools/batch.js'

declare const told: Invocation

const { env } = process
const file = env['PODWIRE_TRACE']
const trace: Trace | undefined = file ? { file, warn: say } : undefined

/** A netlink request in the trace: the command it stands for. */
const traceOperation =
  trace &&
  (({ tool, argv, netns }: Operation) => {
    const done = { argv: within(netns, tool, ...argv), stdin: '', status: 0, stderr: '', netlink: true }
    appendTrace(trace, { time: new Date().toISOString(), ...done })
  })

main({
  plugin: told.plugin,
  env,
  stdin: told.stdin,
  stdout: answer,
  stderr: say,
  run: createRunner({ ...(env['PATH'] ? { callerPath: env['PATH'] } : {}), trace }),
  files: createFiles(),
  netlink: env['PODWIRE_NO_NETLINK'] ? undefined : createNetlink(traceOperation, told.libc),
  trace: trace && ((line) => appendTrace(trace, { time: new Date().toISOString(), ...line })),
  failed: (code) => countError(told.plugin, code),
}).then(exit, (thrown) => exit(1, `${thrown instanceof Error ? thrown.stack : thrown}\n`))
