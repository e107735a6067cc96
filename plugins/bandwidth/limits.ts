import type { TokenBucket } from '../../shared/net/tc.js'
import type { Problem } from '../../shared/values/errors.js'
import type { BandwidthConfiguration } from './bandwidth.schema.js'

/** What limits an attachment: towards the container (ingress) and from it (egress). */
export interface Limits {
  readonly ingress?: TokenBucket
  readonly egress?: TokenBucket
}

/**
 * The limits of the configuration, or those of the runtime where the configuration names none above 0. With problems
 * they must not be used.
 */
export function readLimits(config: BandwidthConfiguration): { limits: Limits; problems: readonly Problem[] } {
  const hasOwn = keys.some(({ rate, burst }) => config[rate] > 0 || config[burst] > 0)
  const source = hasOwn ? config : config.runtimeConfig?.bandwidth
  if (source === undefined) return { limits: {}, problems: [] }
  const prefix = hasOwn ? '' : 'runtimeConfig.bandwidth.'
  const problems = keys.flatMap(({ rate, burst }) =>
    mistakes({ path: prefix + rate, value: source[rate] }, { path: prefix + burst, value: source[burst] }),
  )
  const [ingress, egress] = keys.map(({ rate, burst }) => bucketOf(source[rate], source[burst]))
  return { limits: { ...(ingress ? { ingress } : {}), ...(egress ? { egress } : {}) }, problems }
}

/** What a token bucket does instead of what it should, and where; nothing where it is near enough. */
export function bucketProblems(path: string, expected: TokenBucket, actual: TokenBucket): readonly Problem[] {
  // The kernel counts time in 64 ns and reports it in 32 bits: a longer burst is kept, but cannot be read back.
  const isReadable = (expected.burst / expected.rate) * 1e9 < 2 ** 32 * 64
  const inexact = 1 + expected.burst / 1000 + expected.rate / 1e6
  return [
    ...(actual.rate === expected.rate ? [] : [different(`${path} rate`, actual.rate, expected.rate)]),
    ...(actual.limit === expected.limit ? [] : [different(`${path} limit`, actual.limit, expected.limit)]),
    ...(!isReadable || Math.abs(actual.burst - expected.burst) <= inexact
      ? []
      : [different(`${path} burst`, actual.burst, expected.burst)]),
  ]
}

// --- internal

const keys = [
  { rate: 'ingressRate', burst: 'ingressBurst' },
  { rate: 'egressRate', burst: 'egressBurst' },
] as const

interface Given {
  readonly path: string
  readonly value: number
}

/** 32 bits count the bytes of a burst. */
const tooMuch = (2 ** 32 - 1) * 8

function mistakes(rate: Given, burst: Given): readonly Problem[] {
  const problems: Problem[] = []
  if (rate.value > 0 && burst.value === 0) {
    const official = 'if rate is set, burst must also be set'
    problems.push({ ...burst, expected: `a burst in bits, because ${rate.path} is set`, official })
  }
  if (burst.value > 0 && rate.value === 0) {
    const official = 'if burst is set, rate must also be set'
    problems.push({ ...rate, expected: `a rate in bits a second, because ${burst.path} is set`, official })
  }
  for (const one of [rate, burst]) {
    if (one.value > 0 && one.value < 8) problems.push({ ...one, expected: 'at least 8 bits, which is one byte' })
  }
  if (burst.value >= tooMuch) {
    const expected = `less than ${tooMuch} bits: no burst can be 4 GB or more`
    problems.push({ ...burst, expected, official: 'burst cannot be more than 4GB' })
  }
  return problems
}

/**
 * The official plugin's sizes: what is in the queue may wait for 25 ms beyond the burst. Its sums wrap at 32 bits;
 * these do not.
 */
function bucketOf(rateBits: number, burstBits: number): TokenBucket | undefined {
  const [rate, burst] = [Math.floor(rateBits / 8), Math.floor(burstBits / 8)]
  if (rate === 0 || burst === 0) return undefined
  return { rate, burst, limit: Math.min(Math.floor((rate * 25_000) / 1e6) + burst, 2 ** 32 - 1) }
}

function different(path: string, value: number, expected: number): Problem {
  const key = path.slice(path.lastIndexOf(' ') + 1)
  const official = { rate: 'Rate', limit: 'Limit' }[key] ?? 'Buffer'
  const unit = key === 'rate' ? 'bytes a second' : 'bytes'
  return { path, value, expected: `${expected} ${unit}`, official: `${official} doesn't match` }
}
