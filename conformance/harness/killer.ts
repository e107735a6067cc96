import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Host } from './host.js'
import { type Call, startPlugin } from './plugin.js'

/** The golden ratio's part behind the point: its multiples, without their whole part, are spread evenly, however many there are. */
const golden = (Math.sqrt(5) - 1) / 2
/** A little beyond the end of a run, which is a moment, too. */
const beyond = 1.1

/**
 * Kills calls of one kind at moments spread over their whole run. A machine's speed changes and a first call is longer than the others, so
 * how long a run is it learns as it goes: from each that ended by itself, and from those killed late that it may be longer.
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

  /** Starts a call and kills it at the next moment; what it had started may still end. One that ends before must succeed. */
  async kill(host: Host, call: Call): Promise<void> {
    this.#rounds++
    const part = ((this.#rounds * golden) % 1) * beyond
    const began = performance.now()
    const { child, finished } = startPlugin(host, call)
    const isOver = finished.then(() => performance.now() - began)
    // The moment is what is being tested.
    const ended = await Promise.race([isOver, delay(this.#length * part)])
    child.kill('SIGKILL')
    const { signal, status, stdout } = await finished
    await host.quiet()
    if (signal === 'SIGKILL') {
      this.#hits++
      if (part > 0.9) this.#length *= beyond
    } else {
      expect(status, stdout).toBe(0)
      this.#length = ended ?? (await isOver)
    }
  }

  /** How many of the kills came before the call's end. */
  get share(): { hits: number; rounds: number } {
    return { hits: this.#hits, rounds: this.#rounds }
  }

  /** Every test that kills demands at its end that it did, on a slow and uneven machine, too. */
  expectHits(): void {
    expect(this.#hits, `kills of ${this.#rounds}`).toBeGreaterThan(this.#rounds / 4)
  }
}
