import type { Netlink } from '../../shared/plan/netlink.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type Libc, loadLibc } from '../../shared/system/libc.js'
import { letGarbageGo } from './garbage.js'
import { Looker, type Seen } from './look.js'
import { changeRuleset, generationOf, rulesetNow } from './ruleset.js'

/** An operation that the kernel refused. */
export interface Refused {
  readonly operation: Operation
  readonly why: string
  /** The errno, positive. */
  readonly errno: number
}

/** The kernel as the agent asks and changes it: by netlink alone, so that its image needs no tools. */
export class AgentKernel {
  readonly #libc: Libc
  readonly #netlink: Netlink
  readonly #looker: Looker

  /** @throws Error where this process cannot speak netlink */
  constructor(netlink: Netlink | undefined) {
    const libc = loadLibc()
    if (!netlink || !libc) throw new Error('the agent speaks to the kernel by netlink alone, which this process cannot')
    this.#libc = libc
    this.#netlink = netlink
    this.#looker = new Looker(libc)
  }

  look(): Seen {
    return this.#looker.look()
  }

  /** Carries out operations of `ip`, each whatever becomes of the others. */
  apply(plan: readonly Operation[]): readonly Refused[] {
    const refused: Refused[] = []
    for (let at = 0; at < plan.length; at += most) {
      for (let rest = plan.slice(at, at + most); rest.length > 0; ) {
        const { left, kernelError = 0, kernelText } = this.#netlink.run(rest, () => undefined)
        const [operation, ...others] = left
        rest = others
        if (!operation) break
        const isAbsent = kernelError === -ESRCH && operation.tolerate?.includes('absent') === true
        if (!isAbsent) refused.push({ operation, errno: -kernelError, why: kernelText ?? `errno ${-kernelError}` })
      }
      letGarbageGo()
    }
    return refused
  }

  /** Carries out operations of `nft` as one transaction. @returns 0, or the errno */
  changeRuleset(operations: readonly Operation[]): number {
    return -changeRuleset(this.#libc, operations)
  }

  rulesetNow(family: 'ip' | 'ip6', table: string, sets: readonly string[]): string | undefined {
    return rulesetNow(this.#libc, family, table, sets)
  }

  generation(): number | undefined {
    return generationOf(this.#libc)
  }
}

// --- internal

const ESRCH = 3
/** Operations at a time. */
const most = 500
