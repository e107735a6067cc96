/** Prints what the replay found in the scenarios' notation: "ok", "FAIL", "skip", "explained" lines and "done PASSED FAILED". */
import type { RecordedCall } from './samples.js'

const shownFailures = 5

/** What explains that a plugin's answer differs so; undefined for nothing. */
export type Explain = (plugin: string, difference: string) => string | undefined

const countedUp = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)

/** Counts calls by sample, plugin and command; the first failures of each are shown whole. */
export class Report {
  /** The sample that is being replayed. */
  sample = ''
  readonly #alike = new Map<string, number>()
  readonly #skipped = new Map<string, number>()
  readonly #failures = new Map<string, string[]>()
  readonly #explained = new Map<string, number>()
  readonly #explain: Explain
  #checked = 0

  constructor(explain: Explain) {
    this.#explain = explain
  }

  #group(call: RecordedCall): string {
    return `${this.sample}: ${call.type} ${call.cmd}`
  }

  /**
   * Counts a replayed call with the differences that were found, of which some may be explained by one of the plugins
   * that answered.
   */
  count(call: RecordedCall, differences: string[], plugins: readonly string[] = [call.type]): void {
    const found = differences.filter((difference) => {
      const row = plugins.map((plugin) => this.#explain(plugin, difference)).find((one) => one !== undefined)
      if (row !== undefined) countedUp(this.#explained, row)
      return row === undefined
    })
    if (found.length === 0) countedUp(this.#alike, this.#group(call))
    else this.#fail(this.#group(call), `${call.id.slice(0, 12)} ${call.ifname}: ${found.join('; ')}`)
  }

  skip(call: RecordedCall, reason: string): void {
    countedUp(this.#skipped, `${this.#group(call)}: ${reason}`)
  }

  /** A check that passes when nothing was found. */
  check(name: string, found: string[]): void {
    if (found.length > 0) this.#fail(`${this.sample}: ${name}`, found.join(', '))
    else this.#checked++
  }

  #fail(group: string, failure: string): void {
    this.#failures.set(group, [...(this.#failures.get(group) ?? []), failure])
  }

  /** Prints everything; returns the exit code. */
  finish(): number {
    let [passed, failed] = [this.#checked, 0]
    for (const [group, count] of this.#alike) {
      passed += count
      console.log(`ok ${group}: ${count} calls`)
    }
    for (const [row, count] of this.#explained) console.log(`explained ${count}: ${row}`)
    for (const [group, count] of this.#skipped) console.log(`skip ${group} :: ${count} calls`)
    for (const [group, failures] of this.#failures) {
      failed += failures.length
      console.log(`FAIL ${group} :: ${failures.length} calls: ${failures.slice(0, shownFailures).join(' | ')}`)
    }
    console.log(`done ${passed} ${failed}`)
    return failed > 0 ? 1 : 0
  }
}
