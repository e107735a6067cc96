import type { Host } from './host.js'
import type { Call, Verb } from './plugin.js'
import type { Finished } from './process.js'

/** That a plugin of podwire was called, and with what exit status it ended; null where it was killed or not waited for. */
export interface RecordedCall {
  readonly plugin: string
  readonly verb: Verb
  readonly status: number | null
}

declare module 'vitest' {
  interface TaskMeta {
    /** What the test called in its host, each once, for reports. */
    calls?: RecordedCall[]
  }
}

/** Notes a call in its host as begun, and what becomes of it. */
export function recordCall(
  { calls }: Host,
  { suite = 'podwire', plugin, command: verb }: Call,
  ended: Promise<Finished>,
) {
  if (suite !== 'podwire') return
  const note = (status: number | null) => {
    const isKnown = calls.some((one) => one.plugin === plugin && one.verb === verb && one.status === status)
    if (!isKnown) calls.push({ plugin, verb, status })
  }
  note(null)
  // Whoever waits for the call sees why it failed; there is nothing to note then.
  ended.then(({ status }) => note(status)).catch(() => undefined)
}
