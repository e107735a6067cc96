import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Host } from './host.js'
import { type Call, startPlugin } from './plugin.js'
import type { Finished } from './process.js'

/**
 * The golden ratio's part behind the point: its multiples, without their whole part, are spread evenly, however many
 * there are.
 */
const golden = (Math.sqrt(5) - 1) / 2
/** A little beyond the end of a run, which is a moment, too. */
const beyond = 1.1
/** What is left of a length that turned out to be over before its kill came. */
const early = 0.8

/** How many of the calls that were to be killed were, and not already over. */
export interface Share {
  readonly hits: number
  readonly rounds: number
}

/**
 * Kills calls of one kind at moments spread over their whole run. A machine's speed changes and a first call is longer
 * than the others, so how long a run is it learns as it goes: from each that ended by itself, and from those killed
 * late that it may be longer.
 */
export class Killer {
  #length: number
  #rounds = 0
  #hits = 0

  private constructor(length: number) {
    this.#length = length
  }

  /** Begins with the length of one whole run. */
  static async timing(whole: () => Promise<unknown>): Promise<Killer> {
    const began = performance.now()
    await whole()
    return new Killer(performance.now() - began)
  }

  /**
   * Starts a call and kills it at the next moment; what it had started may still end. One that ends before must
   * succeed.
   */
  async kill(host: Host, call: Call): Promise<void> {
    const { finished } = await this.killAt((((this.#rounds + 1) * golden) % 1) * beyond, host, call)
    await finished
    await host.quiet()
  }

  /** When a part of a whole run is over, in milliseconds from its beginning. */
  momentOf(part: number): number {
    return this.#length * part
  }

  /**
   * The same at a part of the whole run, and without waiting for what it had started, which may keep its pipes open.
   * @param before what is done to a call at that moment, before it is killed
   */
  async killAt(
    part: number,
    host: Host,
    call: Call,
    before: (child: ChildProcess) => Promise<void> = async () => undefined,
  ): Promise<{ isHit: boolean; finished: Promise<Finished> }> {
    this.#rounds++
    const began = performance.now()
    const { child, finished } = startPlugin(host, call)
    const exit = new Promise<boolean>((resolve) => child.once('exit', (_, signal) => resolve(signal === 'SIGKILL')))
    const isOver = exit.then(() => performance.now() - began)
    // The moment is what is being tested.
    await Promise.race([isOver, delay(this.momentOf(part))])
    if (child.exitCode === null) await before(child)
    child.kill('SIGKILL')
    const isHit = await exit
    if (isHit) {
      this.#hits++
      if (part > 0.9) this.#length *= beyond
    } else {
      const { status, stdout } = await finished
      expect(status, stdout).toBe(0)
      // A busy machine tells late of an end, and kills late.
      this.#length = (await isOver) * (part < 1 ? early : 1)
    }
    return { isHit, finished }
  }

  /** How many of the kills came before the call's end. */
  get share(): Share {
    return { hits: this.#hits, rounds: this.#rounds }
  }

  expectHits(): void {
    expectHits(this.share)
  }
}

/**
 * Every test that kills demands at its end that it did. As moments are spread over a length that is learnt, most hit; a
 * quarter does on a machine whose speed changes from call to call, too.
 */
export function expectHits({ hits, rounds }: Share): void {
  expect(hits, `kills of ${rounds}`).toBeGreaterThan(rounds / 4)
}
