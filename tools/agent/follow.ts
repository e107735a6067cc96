import { isObject } from '../../shared/values/object.js'
import { textIn } from '../node/reader.js'
import { letGarbageGo } from './garbage.js'
import { type KubeConfig, Watch } from './libraries.js'

// One kind of objects of the API server, followed: a list in pages, then what changes. What is not needed of an object
// is let go of at once.

/** One page of a list. */
export interface Page {
  readonly items: readonly unknown[]
  readonly version: string
  /** Absent on the last page. */
  readonly next?: string | undefined
}

export interface Followed<Kept> {
  readonly config: KubeConfig
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** Asks for a page, from where the last one ended. */
  readonly list: (next: string | undefined) => Promise<Page>
  /** What is kept of an object; undefined of one that is none. */
  readonly keep: (object: unknown) => Kept | undefined
  readonly isSame: (one: Kept, other: Kept) => boolean
  /** Hears of an object that is other than it was, or, without a name, that a list is whole. */
  readonly changed: (name?: string) => void
  /** Hears of what went wrong, "" when it goes well again. */
  readonly failed: (why: string, code: string) => void
}

/** By their names, the objects as they are kept; undefined until the first list is whole. */
export class Follower<Kept> {
  readonly #of: Followed<Kept>
  #objects: Map<string, Kept> | undefined
  #version = ''
  #failures = 0
  /** How many lists have followed one another within `seldom`, whatever watches said between them. */
  #lists = -1
  #listed = Number.NEGATIVE_INFINITY
  #isStopped = false
  #abort: AbortController | undefined
  /** When the server was last heard of, in milliseconds of performance.now(). */
  heard = 0

  constructor(of: Followed<Kept>) {
    this.#of = of
  }

  get objects(): ReadonlyMap<string, Kept> | undefined {
    return this.#objects
  }

  /** Follows until it is stopped; never throws. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      try {
        if (this.#version === '') await this.#list()
        const began = performance.now()
        await this.#watch()
        const isMute = this.heard < began && performance.now() - began < atOnce
        if (isMute && !this.#isStopped) throw new Error('the watch ended before it said anything')
        if (this.#failures > 0) this.#of.failed('', '')
        this.#failures = 0
        await pause(jittered(shortest))
      } catch (thrown) {
        if (this.#isStopped) return
        const code = statusOf(thrown)
        this.#failures++
        // The server has forgotten what came after that version, as it may; one that always does is asked less often.
        if (code === '410') this.#version = ''
        if (code !== '410' || this.#failures > 1) this.#of.failed(wordsOf(thrown), code)
        await pause(jittered(Math.min(longest, shortest * 2 ** Math.max(this.#failures, this.#lists))))
      }
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#abort?.abort()
  }

  async #list(): Promise<void> {
    const now = performance.now()
    this.#lists = now - this.#listed < seldom ? this.#lists + 1 : 0
    this.#listed = now
    const found = new Map<string, Kept>()
    let next: string | undefined
    let version = ''
    do {
      const page = await this.#of.list(next)
      for (const object of page.items) this.#put(found, object)
      letGarbageGo()
      next = page.next
      version = page.version
      this.#hear()
    } while (next)
    this.#version = version
    this.#objects = found
    this.#of.changed()
  }

  async #watch(): Promise<void> {
    const watch = new Watch(this.#of.config)
    // The library gives up after 30 s of silence; a bookmark comes every minute.
    Object.assign(watch, { requestTimeoutMs: silence })
    const timeoutSeconds = 300 + Math.floor(Math.random() * 300)
    const query = { ...this.#of.query, resourceVersion: this.#version, allowWatchBookmarks: true, timeoutSeconds }
    let refused: unknown
    const end = await new Promise<unknown>((resolve) => {
      watch
        .watch(
          this.#of.path,
          query,
          (phase, object) => {
            if (phase === 'ERROR') {
              refused = object
              this.#abort?.abort()
            } else this.#take(phase, object)
          },
          resolve,
        )
        .then((abort) => {
          this.#abort = abort
          if (this.#isStopped || refused !== undefined) abort.abort()
        }, resolve)
    })
    if (refused !== undefined) throw refused
    if (end && !isAborted(end)) throw end
  }

  #take(phase: string, object: unknown): void {
    this.#hear()
    const metadata = isObject(object) ? object['metadata'] : undefined
    const version = textIn(metadata, 'resourceVersion')
    if (version !== '') this.#version = version
    if (this.#failures > 0) {
      this.#failures = 0
      this.#of.failed('', '')
    }
    const objects = this.#objects
    if (phase === 'BOOKMARK' || !objects) return
    const name = textIn(metadata, 'name')
    const isChanged = phase === 'DELETED' ? objects.delete(name) : this.#put(objects, object)
    if (isChanged) this.#of.changed(name)
  }

  /** Whether it is other than it was. */
  #put(into: Map<string, Kept>, object: unknown): boolean {
    const name = textIn(isObject(object) ? object['metadata'] : undefined, 'name')
    const kept = this.#of.keep(object)
    const before = into.get(name)
    if (name === '' || kept === undefined || (before !== undefined && this.#of.isSame(before, kept))) return false
    into.set(name, kept)
    return true
  }

  #hear(): void {
    this.heard = performance.now()
  }
}

/** The HTTP status of a refusal, the errno of what could not be reached, else "other". */
export function statusOf(thrown: unknown): string {
  if (!isObject(thrown)) return 'other'
  const { code, statusCode, cause, name } = thrown as Record<string, unknown>
  if (typeof code === 'number') return String(code)
  if (typeof statusCode === 'number') return String(statusCode)
  if (typeof code === 'string') return code
  if (isObject(cause)) return statusOf(cause)
  return name === 'TimeoutError' ? 'timeout' : 'other'
}

export function wordsOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return textIn(thrown, 'message') || String(thrown)
  const { cause } = thrown
  const line = thrown.message.split('\n')[0] ?? ''
  return cause instanceof Error && cause.message !== '' ? `${line}: ${cause.message.split('\n')[0]}` : line
}

/** Between half of a time and all of it, so that agents of a cluster do not ask at once. */
export function jittered(milliseconds: number): number {
  return milliseconds * (0.5 + Math.random() / 2)
}

/** Does not keep the process from ending. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

// --- internal

/** Milliseconds between tries: the first, and those of a server that is lost. */
const shortest = 200
const longest = 30_000
/** Milliseconds between two whole lists that cost the server little. */
const seldom = 60_000
/** Milliseconds within which a watch that ends is none: some proxies answer it with a page of their own. */
const atOnce = 1000
/** Milliseconds without a word after which a watch is taken for lost. */
const silence = 150_000

function isAborted(end: unknown): boolean {
  return isObject(end) && (end as { name?: unknown })['name'] === 'AbortError'
}
