import { iptablesTools } from '../../shared/net/iptables.js'
import type { Host } from '../../shared/plan/host.js'
import type { Observer } from '../../shared/plan/observer.js'
import type { Operation, Tool } from '../../shared/plan/operation.js'
import { inSameJournal } from '../../shared/program/plugin.js'
import { asCniError, attributed } from '../../shared/values/errors.js'
import { type ChainCall, type Member, named } from './members.js'
import { createRemoval, type Removal } from './removal.js'

/** A chain at work: its members share what they see, and what can wait is made together. */
export interface SharedHost {
  readonly call: ChainCall
  readonly host: Host
  /** Does something for a member; what of another's fails in it is that one's error. @throws it, named */
  readonly as: <T>(member: Member, body: () => T) => T
  /** Takes from the member at work what can wait. */
  readonly later: (body: () => void) => void
  /** Makes what waits. @throws the error of the member whose it is, named */
  readonly settle: () => void
  readonly followedBy: Removal['followedBy']
}

/** Runs a verb of a chain; a dry run and a trace tell how long each member took. */
export function sharing<T>(call: ChainCall, body: (shared: SharedHost) => T): T {
  const clock = createClock(call)
  const { shared, drop } = createSharedHost(call, clock)
  try {
    return body(shared)
  } finally {
    drop()
    clock.tell()
  }
}

// --- internal

/**
 * Elements that nobody waits for (`waits`), and what a member leaves for later, are made by one transaction of
 * nftables: before any member looks at elements or changes rules, before another program is started, and at the end. So
 * they come behind links. Where that transaction is refused, each member's part is tried by itself, and fails as
 * its own.
 */
function createSharedHost(call: ChainCall, clock: Clock): { shared: SharedHost; drop: () => void } {
  const own = inSameJournal(call)
  const elements: { readonly member: Member; readonly plan: readonly Operation[] }[] = []
  const bodies: { readonly member: Member; readonly body: () => void }[] = []
  const told = new WeakSet<object>()
  const seen = new Map<string, unknown>()
  const removal = createRemoval(call, own)
  let current: Member | undefined
  let failure: unknown

  const as = <T>(member: Member, body: () => T): T => {
    const outer = current
    current = member
    clock.start(member)
    try {
      const done = body()
      // Whoever was at work may have gone on without what was its own wish; another's is none of its business.
      if (failure !== undefined) throw failure
      return done
    } catch (thrown) {
      // Whoever was at work when another's came to light passes it on.
      if (thrown instanceof Error && told.has(thrown)) throw thrown
      const error = asCniError(thrown)
      try {
        return named(member, () => {
          throw member.plugin ? attributed(error, member.plugin.name, call.config.name) : error
        })
      } catch (its) {
        told.add(its as Error)
        throw its
      }
    } finally {
      current = outer
      clock.start(outer)
    }
  }
  /** Makes what has waited. */
  const make = (member: Member, body: () => void) => {
    try {
      as(member, body)
    } catch (thrown) {
      failure ??= thrown
      throw thrown
    }
  }
  const forget = () => seen.clear()
  const isMade = (plan: readonly Operation[]): boolean => {
    try {
      own.apply(plan)
      return true
    } catch {
      // Nothing of a transaction that is refused was done; whose part it was, the parts tell.
      return false
    }
  }
  /** Makes elements that wait, and operations on rules, in one transaction if that can be. */
  const applyRules = (plan: readonly Operation[]) => {
    forget()
    const waiting = elements.splice(0)
    const parts = waiting.length + (plan.length > 0 ? 1 : 0)
    const isOne = parts > 1 && plan.every(({ tool }) => tool === 'nft')
    if (isOne && isMade([...waiting.flatMap((one) => one.plan), ...plan])) return
    for (const one of waiting) make(one.member, () => own.apply(one.plan))
    if (plan.length > 0) own.apply(plan)
  }
  const settle = () => {
    for (const { member, body } of bodies.splice(0)) make(member, body)
    if (elements.length > 0) applyRules([])
  }
  const settleAnew = () => {
    settle()
    forget()
  }

  const host: Host = {
    ...own,
    observer: sharedObserver(own.observer, { seen, settle, forget, isStill: call.environment.command === 'CHECK' }),
    apply: (plan) => {
      if (own.dryRun || current === undefined) return own.apply(plan)
      const later = plan.filter(({ waits }) => waits)
      const now = later.length > 0 ? plan.filter(({ waits }) => !waits) : plan
      if (now.some(isOfRules)) applyRules(now)
      else if (now.length > 0) own.apply(now)
      if (later.length > 0) elements.push({ member: current, plan: later })
    },
    sweep: (plan) => {
      if (plan.some(isOfRules)) settleAnew()
      const left = removal.leftOf(plan)
      if (left.length > 0 || own.dryRun) own.sweep(left)
    },
    run: (command) => {
      // Another plugin looks at what it likes, and changes it.
      if (command.env) settleAnew()
      return own.run(command)
    },
  }
  const later = (body: () => void) => {
    if (own.dryRun || current === undefined) body()
    else bodies.push({ member: current, body })
  }
  /** What still waits when a chain fails is never made: taking it back may start another program. */
  const drop = () => {
    elements.length = 0
    bodies.length = 0
  }
  return { shared: { call, host, as, later, settle, followedBy: removal.followedBy }, drop }
}

const ofRules: readonly Tool[] = ['nft', ...iptablesTools, 'conntrack']

function isOfRules({ tool }: Operation): boolean {
  return ofRules.includes(tool)
}

/** Questions about what waits: the answer is what there is when it has been made. */
const aboutElements = ['rules', 'ruleTexts', 'elements'] as const
/** Those about the chains of others and of iptables, which no element changes. */
const aboutChains = ['chains', 'savedRules', 'hasLegacyTable'] as const
/** The others of a CHECK, which changes nothing. */
const aboutLinks = ['link', 'linkIfThere', 'links', 'routing', 'qdiscs', 'settings'] as const

/** An observer that is asked each question once, until something changes the answer; with `isStill` nothing does. */
function sharedObserver(
  observer: Observer,
  options: { seen: Map<string, unknown>; settle: () => void; forget: () => void; isStill: boolean },
): Observer {
  const { seen, settle, forget, isStill } = options
  const settled = <Asked extends readonly unknown[], T>(ask: (...of: Asked) => T) => {
    return (...of: Asked): T => {
      settle()
      return ask(...of)
    }
  }
  const once = (question: keyof Observer) => {
    const ask = observer[question] as (...of: readonly unknown[]) => unknown
    return (...of: readonly unknown[]): unknown => {
      const key = JSON.stringify([question, ...of])
      if (!seen.has(key)) seen.set(key, ask(...of))
      return seen.get(key)
    }
  }
  const unsettled = [...aboutChains, ...(isStill ? aboutLinks : [])]
  return {
    ...observer,
    ...Object.fromEntries(unsettled.map((question) => [question, once(question)])),
    ...Object.fromEntries(aboutElements.map((question) => [question, settled(once(question))])),
    holds: settled(observer.holds),
    holdsDirectly: settled(observer.holdsDirectly),
    unusedChains: settled(observer.unusedChains),
    tryLock: (fd, kind) => {
      // Whoever waits for a lock wants to know what others did before it was free.
      if (kind !== 'shared') forget()
      return observer.tryLock(fd, kind)
    },
  }
}

/** Shares out time among members; what another does in one's turn is that other's. */
interface Clock {
  /** From now on a member is at work, or the chain itself. */
  readonly start: (member: Member | undefined) => void
  readonly tell: () => void
}

function createClock({ host, environment }: ChainCall): Clock {
  const { dryRun, trace, warn } = host
  if (!dryRun && !trace) return { start: () => undefined, tell: () => undefined }
  const taken = new Map<string, number>()
  let current: string | undefined
  let headed: string | undefined
  let since = performance.now()
  const start = (member: Member | undefined) => {
    const now = performance.now()
    if (current !== undefined) taken.set(current, (taken.get(current) ?? 0) + now - since)
    current = member && `plugins[${member.index}] ${member.type}`
    since = now
    if (dryRun && current !== undefined && current !== headed) {
      headed = current
      warn(`# ${current}`)
    }
  }
  const tell = () => {
    for (const [member, ms] of taken) {
      const rounded = Math.round(ms * 1000) / 1000
      if (dryRun) warn(`# ${member} took ${rounded} ms`)
      trace?.({ member, verb: environment.command, ms: rounded })
    }
  }
  return { start, tell }
}
