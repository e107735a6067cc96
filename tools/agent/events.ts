import { sha512 } from '../../shared/values/hash.js'
import type { Api } from './api.js'
import { statusOf, wordsOf } from './follow.js'
import type { Problem } from './problem.js'

// Problems of a node as Events of its object, where `kubectl describe node` shows them. One problem is one Event: while
// it lasts, its count grows every half hour.

/** Milliseconds, of a clock that nobody sets, after which what lasts is told again; an Event is kept for an hour. */
const again = 30 * 60_000
/** Of one kind at a time: of a thousand nodes that cannot be reached, some and their number. */
const mostOfKind = 10
/** Of one reason, whatever their texts: as many requests at once, and then one in so many milliseconds. */
const burst = 25
const refill = 120_000
/** Milliseconds after a request that the API server did not do. */
const retry = 10_000

export interface EventsOptions {
  readonly api: Api
  /** The name of the node that they are of. */
  readonly node: string
  readonly log: (text: string) => void
  /** Hears of each that its reason has no request left for. */
  readonly withheld?: (reason: Problem['reason']) => void
}

export class Events {
  readonly #of: EventsOptions
  readonly #told = new Map<string, { readonly name: string; readonly at: number; readonly count: number }>()
  readonly #buckets = new Map<Problem['reason'], Bucket>()
  /** The keys of those that wait for a request. */
  #held: ReadonlySet<string> = new Set()
  #isBusy = false
  #failed = Number.NEGATIVE_INFINITY
  #wanted: readonly Problem[] = []
  /** What happened, and nobody took. */
  #late: readonly Problem[] = []

  constructor(options: EventsOptions) {
    this.#of = options
  }

  /** What the problems are now. What is told already is not told again at once. */
  tell(problems: readonly Problem[]): void {
    this.#wanted = fewOfEach(problems)
    void this.#send()
  }

  /** Tells of something that happened, rather than lasts: once, and with what lasts where nobody took it. */
  async happened(problem: Problem): Promise<void> {
    if (!this.#mayTell(problem.reason)) this.#of.withheld?.(problem.reason)
    else if (!(await this.#tellOne(problem))) this.#late = [...this.#late, problem].slice(-mostOfKind)
  }

  async #send(): Promise<void> {
    if (this.#isBusy || performance.now() - this.#failed < retry) return
    this.#isBusy = true
    const held = new Set<string>()
    try {
      const late = this.#late
      this.#late = []
      for (const one of late) await this.happened(one)
      const keys = new Set(this.#wanted.map(keyOf))
      for (const [key, { at }] of this.#told)
        if (!keys.has(key) && performance.now() - at > again) this.#told.delete(key)
      for (const problem of this.#wanted) {
        const key = keyOf(problem)
        const told = this.#told.get(key)
        if (told !== undefined && performance.now() - told.at <= again) continue
        if (!this.#mayTell(problem.reason)) {
          held.add(key)
          if (!this.#held.has(key)) this.#of.withheld?.(problem.reason)
        } else await this.#tellOne(problem)
      }
    } finally {
      this.#held = held
      this.#isBusy = false
    }
  }

  /** Takes a request of those that a reason has. */
  #mayTell(reason: Problem['reason']): boolean {
    const now = performance.now()
    const { left, at } = this.#buckets.get(reason) ?? { left: burst, at: now }
    const full = Math.min(burst, left + (now - at) / refill)
    this.#buckets.set(reason, { left: full < 1 ? full : full - 1, at: now })
    return full >= 1
  }

  /** Whether the API server took it. */
  async #tellOne(problem: Problem): Promise<boolean> {
    const key = keyOf(problem)
    const told = this.#told.get(key)
    try {
      const count = (told?.count ?? 0) + 1
      const name = told && (await this.#countUp(told.name, count)) ? told.name : await this.#create(problem)
      this.#told.set(key, { name, at: performance.now(), count: name === told?.name ? count : 1 })
      return true
    } catch (thrown) {
      this.#failed = performance.now()
      const bucket = this.#buckets.get(problem.reason)
      // A server that was not reached was not asked: after an outage there is all to tell.
      if (bucket && !isRefusal(thrown)) this.#buckets.set(problem.reason, { ...bucket, left: bucket.left + 1 })
      this.#of.log(`an Event could not be told: ${wordsOf(thrown)}`)
      return false
    }
  }

  /** False where it is there no more. */
  async #countUp(name: string, count: number): Promise<boolean> {
    try {
      const body = { count, lastTimestamp: new Date().toISOString() }
      await this.#of.api.patch(`${path}/${name}`, 'application/merge-patch+json', body)
      return true
    } catch (thrown) {
      if (statusOf(thrown) !== '404') throw thrown
      return false
    }
  }

  async #create({ reason, text }: Problem): Promise<string> {
    const now = new Date().toISOString()
    const name = eventName(this.#of.node, `${reason} ${text} ${now}`)
    await this.#of.api.post(path, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: 'default' },
      involvedObject: { apiVersion: 'v1', kind: 'Node', name: this.#of.node, uid: this.#of.node },
      reason,
      message: text.slice(0, 1024),
      type: isNews(reason) ? 'Normal' : 'Warning',
      source: { component: 'podwire-agent', host: this.#of.node },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    })
    return name
  }
}

/** Some of each kind, and of the rest how many. */
export function fewOfEach(problems: readonly Problem[]): readonly Problem[] {
  const byReason = Map.groupBy(problems, ({ reason }) => reason)
  return [...byReason].flatMap(([reason, all]) => {
    if (all.length <= mostOfKind) return all
    const more = all.slice(mostOfKind).map(({ key }) => key)
    const names = `${more.slice(0, mostOfKind).join(', ')}${more.length > mostOfKind ? ', ...' : ''}`
    return [...all.slice(0, mostOfKind), { reason, key: rest, text: `the same of ${more.length} more: ${names}` }]
  })
}

/** A name of an Event, which has 253 characters at the most, as the node's own may. */
export function eventName(node: string, of: string): string {
  const hash = sha512(`${node} ${of}`).slice(0, 16)
  // A part of a name ends in a letter or a digit.
  return `${node.slice(0, mostOfName - hash.length - 1).replace(/[-.]+$/, '')}.${hash}`
}

// --- internal

const mostOfName = 253

/** Whether the API server has answered. */
function isRefusal(thrown: unknown): boolean {
  return Number(statusOf(thrown)) > 0
}

interface Bucket {
  readonly left: number
  /** Milliseconds, of a clock that nobody sets. */
  readonly at: number
}

/** The key of what is told of those that are too many. */
const rest = 'rest'

/** Where Events of nodes are. */
const path = '/api/v1/namespaces/default/events'

function keyOf({ reason, key, text }: Problem): string {
  // How many more there are may change at every look.
  return JSON.stringify(key === rest ? [reason, key] : [reason, key, text])
}

function isNews(reason: Problem['reason']): boolean {
  return reason === 'PodCIDRChanged' || reason === 'MTUChanged' || reason === 'Collected'
}
