import { formerNetworks } from '../../shared/exec/records.js'
import { attemptAll, throwTogether } from '../../shared/plan/host.js'
import { definePlugin } from '../../shared/program/plugin.js'
import { asCniError, CniError, codes, invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import { emptyResult, printResult, type Result } from '../../shared/values/result.js'
import type { ChainConfiguration } from './chain.schema.js'
import { type ChainCall, type Member, membersOf, named, requireInstalled, typesIn } from './members.js'
import { requireVersion, run } from './run.js'
import { type SharedHost, sharing } from './together.js'

/**
 * A list of plugins in one process, which means what the list means. Members of this file run inside, in one journal:
 * where one fails, all before it are taken back, and their leases. Others are found on CNI_PATH and executed.
 */
export default definePlugin<ChainConfiguration>({
  name: 'chain',
  prevResult: { ADD: 'optional' },
  loads: typesIn,

  refuse: problemsOf,

  add: (call) =>
    sharing(call, (shared) => {
      let result: Result | undefined
      for (const member of prepared(shared)) {
        const prevResult = result ? JSON.parse(printResult(result, call.version)) : call.config.prevResult
        result = run(shared, member, 'ADD', { prevResult }) ?? result
      }
      shared.settle()
      return result ?? call.prevResult ?? emptyResult
    }),

  check: (call) =>
    sharing(call, (shared) => {
      const { prevResult } = call.config
      for (const member of prepared(shared)) run(shared, member, 'CHECK', { prevResult })
    }),

  del: (call) =>
    sharing(call, (shared) => {
      const { prevResult } = call.config
      const leases: Lease[] = []
      const failed: { member: Member; error: CniError }[] = []
      const attempt = (member: Member, body: () => void) => {
        try {
          body()
        } catch (thrown) {
          failed.push({ member, error: asCniError(thrown) })
        }
      }
      const members = [...formerly(call), ...removable(call)].toReversed()
      for (const [index, member] of members.entries()) {
        shared.followedBy(members.slice(index + 1))
        const leaseLater = (release: () => void) => void leases.push({ member, release })
        attempt(member, () => run(shared, member, 'DEL', { prevResult, leaseLater }))
      }
      // An address that one of our rules may still lead to is nobody else's yet; whoever repeats the DEL gives it back.
      if (!failed.some(({ member }) => mayLead(member))) {
        for (const { member, release } of leases) attempt(member, () => shared.as(member, release))
      }
      throwTogether(failed.map(({ error }) => error))
    }),

  status: (call) =>
    sharing(call, (shared) => {
      const problems = problemsOf(call)
      if (problems.length > 0) throw new CniError(codes.notAvailable, 'the chain cannot serve', { problems })
      for (const member of membersOf(call)) {
        const { index, type, plugin } = member
        try {
          named(member, () => requireInstalled(call, member))
        } catch (thrown) {
          throw unavailable(asCniError(thrown))
        }
        if (!plugin) call.host.warn(`chain: plugins[${index}] ${type} is executed: it is not of this build`)
        named(member, () => requireVersion(shared, member))
        run(shared, member, 'STATUS')
      }
    }),

  gc: (call) =>
    sharing(call, (shared) => {
      attemptAll(...removable(call).map((member) => () => void run(shared, member, 'GC')))
    }),
})

// --- internal

interface Lease {
  readonly member: Member
  readonly release: () => void
}

/** The members, each of which is there and knows the version. @throws before anything is done */
function prepared(shared: SharedHost): readonly Member[] {
  const { call } = shared
  const members = membersOf(call)
  const nested = nestedProblems(call)
  if (nested.length > 0) throw invalidConfiguration(nested)
  for (const member of members) named(member, () => requireInstalled(call, member))
  for (const member of members) named(member, () => requireVersion(shared, member))
  return members
}

/** Those that an ADD can have run: it refuses a chain in a chain. */
function removable(call: ChainCall): readonly Member[] {
  return membersOf(call).filter(({ type, plugin }) => type !== 'chain' && plugin?.name !== 'chain')
}

/** Members of this suite under the names that the network had when it attached this interface, if it had another. */
function formerly(call: ChainCall): readonly Member[] {
  const inside = removable(call).filter(({ plugin }) => plugin !== undefined)
  const kinds = [...new Set(inside.map(({ plugin }) => plugin?.name ?? '')), 'masquerade', 'ipam']
  return formerNetworks(call.host, kinds, call.attachment).flatMap((name) => {
    call.host.warn(`chain: the network was called "${name}" when it attached this interface`)
    return inside.map((member) => ({ ...member, config: { ...member.config, name } }))
  })
}

/** Whether what a member may have left after a DEL that failed leads to the attachment's addresses. */
function mayLead({ plugin }: Member): boolean {
  return plugin !== undefined && !leadNowhere.includes(plugin.name)
}

/** Plugins whose rules and settings, if they make any, are those of a link, or in the container. */
const leadNowhere = ['loopback', 'tuning', 'bandwidth', 'sbr', 'vrf']

function problemsOf(call: ChainCall): readonly Problem[] {
  return [...emptyProblems(call), ...nestedProblems(call), ...disableProblems(call), ...capabilityProblems(call)]
}

function unavailable({ message, details }: CniError): CniError {
  return new CniError(codes.notAvailable, message, { details, complete: true })
}

function emptyProblems({ config: { plugins } }: ChainCall): readonly Problem[] {
  return plugins.length > 0 ? [] : [{ path: 'plugins', value: plugins, expected: 'at least one plugin' }]
}

function nestedProblems(call: ChainCall): readonly Problem[] {
  return call.config.plugins.flatMap(({ type }, index) => {
    const isChain = type === 'chain' || call.members?.get(type)?.name === 'chain'
    const fix = "put the inner chain's plugins in its place"
    return isChain ? [{ path: `plugins[${index}].type`, value: type, expected: 'a plugin that is no chain', fix }] : []
  })
}

/** Keys of a list: a runtime looks for them there. */
function disableProblems({ config }: ChainCall): readonly Problem[] {
  return (['disableCheck', 'disableGC'] as const).flatMap((path) => {
    const value = config[path]
    return value === undefined ? [] : [{ path, value, expected: 'nothing', fix: 'set it in the list around the chain' }]
  })
}

/** The runtime gives only what the chain declares. */
function capabilityProblems({ config: { plugins, capabilities = {} } }: ChainCall): readonly Problem[] {
  return plugins.flatMap(({ capabilities: wanted = {} }, index) =>
    Object.entries(wanted).flatMap(([name, value]) => {
      if (!value || (Object.hasOwn(capabilities, name) && capabilities[name])) return []
      const fix = `write "${name}": true into the chain's own "capabilities"`
      return [
        { path: `plugins[${index}].capabilities.${name}`, value, expected: 'a capability that the chain has', fix },
      ]
    }),
  )
}
