import type { Operation } from '../plan/operation.js'
import { codes } from '../values/errors.js'

/** A token bucket filter (tc-tbf(8)). */
export interface TokenBucket {
  /** Bytes a second. */
  readonly rate: number
  /** Bytes that may pass at once after a pause. */
  readonly burst: number
  /** Bytes that may wait; what comes on top is dropped. */
  readonly limit: number
}

/** Lets a link send no faster than the bucket says; replaces another limit of the link. */
export function limitRate(link: string, { rate, burst, limit }: TokenBucket): Operation {
  const words = [
    'root',
    'handle',
    '1:',
    'tbf',
    'rate',
    `${rate * 8}bit`,
    'burst',
    String(burst),
    'limit',
    String(limit),
  ]
  return {
    ...tc(['qdisc', 'replace', 'dev', link, ...words], `limit the rate of ${link}`),
    // By its handle: where there was no time to set it, another's limit stays.
    undo: [{ ...unlimitRate(link), argv: ['qdisc', 'del', 'dev', link, 'root', 'handle', '1:'] }],
  }
}

export function unlimitRate(link: string): Operation {
  return { ...tc(['qdisc', 'del', 'dev', link, 'root'], `lift the limit on the rate of ${link}`), tolerate: ['absent'] }
}

/** Sends what comes in at a link through another one before it goes on, as if it had come in there. */
export function redirectIngress(link: string, to: string): readonly Operation[] {
  const why = `redirect what comes in at ${link} to ${to}`
  const match = ['protocol', 'all', 'prio', '1', 'handle', '800::800', 'u32', 'match', 'u32', '0', '0', 'flowid', '1:1']
  const action = ['action', 'mirred', 'egress', 'redirect', 'dev', to]
  return [
    { ...tc(['qdisc', 'replace', 'dev', link, 'handle', 'ffff:', 'ingress'], why), undo: [restoreIngress(link)] },
    tc(['filter', 'replace', 'dev', link, 'parent', 'ffff:', ...match, ...action], why),
  ]
}

export function restoreIngress(link: string): Operation {
  const why = `stop to redirect what comes in at ${link}`
  return { ...tc(['qdisc', 'del', 'dev', link, 'ingress'], why), tolerate: ['absent'] }
}

// --- internal

function tc(argv: readonly string[], why: string): Operation {
  const fix = 'use a kernel with sch_tbf, sch_ingress, cls_u32, act_mirred and ifb, or load these modules'
  return { tool: 'tc', argv, why, meaning: { unsupported: { code: codes.featureMissing, fix } } }
}
