import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { ChainCall, Member } from './members.js'

/** What members of a DEL remove by one transaction of nftables. */
export interface Removal {
  /** Tells whose turn comes behind that of the member at work, in their order. */
  readonly followedBy: (members: readonly Member[]) => void
  /** What is left to do of a plan that removes. */
  readonly leftOf: (plan: readonly Operation[]) => readonly Operation[]
}

/**
 * The first elements that a member removes go together with those that the members behind it have on record, up to one
 * that may start another program; these find theirs gone, and do what comes then. Where the transaction is refused
 * nothing of it was done: each removes its own, and what fails is that one's.
 */
export function createRemoval(call: ChainCall, host: Host): Removal {
  const gone = new Set<string>()
  let behind: readonly Member[] = []
  let isRefused = false
  const areGone = (plan: readonly Operation[]) => {
    const { left } = host.executor.request(plan, () => undefined)
    return left.length === 0 || (!host.executor.isDirect() && areGoneByTool(host, plan))
  }
  const quiet = { ...host, warn: () => undefined }
  /** What a member's DEL will begin with. What keeps that from being told, the DEL itself meets, and reports. */
  const onRecord = ({ plugin, config }: Member) => {
    const { containerID, ifName } = call.environment
    const attachment = { network: String(config['name']), containerID, ifName }
    try {
      const seen = plugin?.removes?.look(quiet, attachment)
      return seen === undefined ? [] : (plugin?.removes?.plan(attachment, seen) ?? []).filter(isOfNft)
    } catch {
      return []
    }
  }
  return {
    followedBy: (members) => {
      const end = members.findIndex(({ plugin }) => plugin === undefined || plugin.loads !== undefined)
      behind = members.slice(0, end < 0 ? undefined : end)
    },
    leftOf: (plan) => {
      const left = plan.filter((one) => !gone.delete(keyOf(one)))
      const first = left.filter(isOfNft)
      if (first.length === 0 || isRefused || host.dryRun) return left
      const known = new Set([...first.map(keyOf), ...gone])
      const recorded = behind.flatMap(onRecord)
      const more = new Map(recorded.map((one) => [keyOf(one), one] as const).filter(([key]) => !known.has(key)))
      if (more.size === 0) return left
      isRefused = !areGone([...first, ...more.values()])
      if (isRefused) return left
      for (const key of more.keys()) gone.add(key)
      return left.filter((one) => !isOfNft(one))
    },
  }
}

// --- internal

function isOfNft({ tool }: Operation): boolean {
  return tool === 'nft'
}

function keyOf({ tool, argv }: Operation): string {
  return `${tool} ${argv.join(' ')}`
}

/** By one process, which does all or nothing. */
function areGoneByTool(host: Host, plan: readonly Operation[]): boolean {
  try {
    host.apply(plan)
    return true
  } catch {
    return false
  }
}
