import { sha512 } from '../../shared/values/hash.js'
import type { Api } from './api.js'
import { statusOf, wordsOf } from './follow.js'
import type { Problem } from './problem.js'

// Problems of a node as Events of its object, where `kubectl describe node` shows them. One problem is one Event: while
// it lasts, its count grows every half hour.

/** Milliseconds after which a problem that lasts is told again; an Event is kept for an hour. */
const again = 30 * 60_000
/** Of one kind at a time: of a thousand nodes that cannot be reached, some and their number. */
const mostOfKind = 10

export class Events {
  readonly #api: Api
  readonly #node: string
  readonly #log: (text: string) => void
  readonly #told = new Map<string, { readonly name: string; readonly at: number; readonly count: number }>()
  #isBusy = false
  #wanted: readonly Problem[] = []

  constructor(api: Api, node: string, log: (text: string) => void) {
    this.#api = api
    this.#node = node
    this.#log = log
  }

  /** What the problems are now. What is told already is not told again at once. */
  tell(problems: readonly Problem[]): void {
    this.#wanted = fewOfEach(problems)
    void this.#send()
  }

  /** Tells of something that happened, rather than lasts. */
  async happened(problem: Problem): Promise<void> {
    await this.#tellOne(problem)
  }

  async #send(): Promise<void> {
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      const keys = new Set(this.#wanted.map(keyOf))
      for (const [key, { at }] of this.#told) if (!keys.has(key) && Date.now() - at > again) this.#told.delete(key)
      for (const problem of this.#wanted) {
        const told = this.#told.get(keyOf(problem))
        if (told === undefined || Date.now() - told.at > again) await this.#tellOne(problem)
      }
    } finally {
      this.#isBusy = false
    }
  }

  async #tellOne(problem: Problem): Promise<void> {
    const key = keyOf(problem)
    const told = this.#told.get(key)
    try {
      const count = (told?.count ?? 0) + 1
      const name = told && (await this.#countUp(told.name, count)) ? told.name : await this.#create(problem)
      this.#told.set(key, { name, at: Date.now(), count: name === told?.name ? count : 1 })
    } catch (thrown) {
      this.#log(`an Event could not be told: ${wordsOf(thrown)}`)
    }
  }

  /** False where it is there no more. */
  async #countUp(name: string, count: number): Promise<boolean> {
    try {
      const body = { count, lastTimestamp: new Date().toISOString() }
      await this.#api.patch(`${path}/${name}`, 'application/merge-patch+json', body)
      return true
    } catch (thrown) {
      if (statusOf(thrown) !== '404') throw thrown
      return false
    }
  }

  async #create({ reason, text }: Problem): Promise<string> {
    const now = new Date().toISOString()
    const name = `${this.#node}.${sha512(`${reason} ${text} ${now}`).slice(0, 16)}`
    await this.#api.post(path, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: 'default' },
      involvedObject: { apiVersion: 'v1', kind: 'Node', name: this.#node, uid: this.#node },
      reason,
      message: text.slice(0, 1024),
      type: isNews(reason) ? 'Normal' : 'Warning',
      source: { component: 'podwire-agent', host: this.#node },
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
    const rest = all.slice(mostOfKind).map(({ key }) => key)
    const names = `${rest.slice(0, mostOfKind).join(', ')}${rest.length > mostOfKind ? ', ...' : ''}`
    return [...all.slice(0, mostOfKind), { reason, key: 'rest', text: `the same of ${rest.length} more: ${names}` }]
  })
}

// --- internal

/** Where Events of nodes are. */
const path = '/api/v1/namespaces/default/events'

function keyOf({ reason, key, text }: Problem): string {
  return JSON.stringify([reason, key, text])
}

function isNews(reason: Problem['reason']): boolean {
  return reason === 'PodCIDRChanged' || reason === 'MTUChanged'
}
