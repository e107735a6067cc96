import type { Finished } from './process.js'

/**
 * That a plugin of podwire was called, and with what exit status it ended; null where it was killed, or has not ended.
 */
export interface RecordedCall {
  readonly plugin: string
  readonly verb: string
  readonly status: number | null
}

declare module 'vitest' {
  interface TaskMeta {
    /** What the test called in its host, each once, for reports. */
    calls?: RecordedCall[]
    /** How its first try failed, when it passed at the second. */
    unstable?: string
  }
}

/** Notes a call as begun, and what becomes of it. */
export function recordCall(calls: RecordedCall[], call: Omit<RecordedCall, 'status'>, ended: Promise<Finished>): void {
  const note = (status: number | null) => {
    const isKnown = calls.some((one) => one.plugin === call.plugin && one.verb === call.verb && one.status === status)
    if (!isKnown) calls.push({ plugin: call.plugin, verb: call.verb, status })
  }
  note(null)
  // Whoever waits for the call sees why it could not be started; there is nothing to note then.
  ended.then(({ status }) => note(status)).catch(() => undefined)
}
