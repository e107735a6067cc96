/** Prints what the replay found in the scenarios' notation: "ok", "FAIL", "skip" lines and "done PASSED FAILED". */
import type { RecordedCall } from './samples.js'

const shownFailures = 5

const countedUp = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)

/** Counts calls by sample, plugin and command; the first failures of each are shown whole. */
export class Report {
  /** The sample that is being replayed. */
  sample = ''
  readonly #alike = new Map<string, number>()
  readonly #skipped = new Map<string, number>()
  readonly #failures = new Map<string, string[]>()
  #checked = 0

  #group(call: RecordedCall): string {
    return `${this.sample}: ${call.type} ${call.cmd}`
  }

  /** Counts a replayed call with the differences that were found. */
  count(call: RecordedCall, found: string[]): void {
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
    for (const [group, count] of this.#skipped) console.log(`skip ${group} :: ${count} calls`)
    for (const [group, failures] of this.#failures) {
      failed += failures.length
      console.log(`FAIL ${group} :: ${failures.length} calls: ${failures.slice(0, shownFailures).join(' | ')}`)
    }
    console.log(`done ${passed} ${failed}`)
    return failed > 0 ? 1 : 0
  }
}
