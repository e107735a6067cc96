import { attemptAll, throwTogether } from '../../shared/plan/host.js'
import { definePlugin } from '../../shared/program/plugin.js'
import { asCniError, CniError, codes, type Problem } from '../../shared/values/errors.js'
import { emptyResult, printResult, type Result } from '../../shared/values/result.js'
import type { ChainConfiguration } from './chain.schema.js'
import { type ChainCall, type Member, membersOf, named, requireInstalled, requireVersion, run } from './members.js'

/**
 * A list of plugins in one process, which means what the list means. Members of this file run inside, in one journal:
 * where one fails, all before it are taken back, and their leases. Others are found on CNI_PATH and executed.
 */
export default definePlugin<ChainConfiguration>({
  name: 'chain',
  prevResult: { ADD: 'optional' },
  loads: ({ plugins }) =>
    (Array.isArray(plugins) ? plugins : [])
      .flatMap((one) => [one?.type, one?.ipam?.type])
      .filter((type) => typeof type === 'string'),

  refuse: (call) => [
    ...emptyProblems(call),
    ...nestedProblems(call),
    ...disableProblems(call),
    ...capabilityProblems(call),
  ],

  add(call) {
    const members = prepared(call)
    let result: Result | undefined
    for (const member of members) {
      const prevResult = result ? JSON.parse(printResult(result, call.version)) : call.config.prevResult
      result = run(call, member, 'ADD', { prevResult }) ?? result
    }
    return result ?? call.prevResult ?? emptyResult
  },

  check(call) {
    for (const member of prepared(call)) run(call, member, 'CHECK', call.config)
  },

  del(call) {
    const leases: Lease[] = []
    const failed: { member: Member; error: CniError }[] = []
    const attempt = (member: Member, body: () => void) => {
      try {
        body()
      } catch (thrown) {
        failed.push({ member, error: asCniError(thrown) })
      }
    }
    for (const member of membersOf(call).toReversed()) {
      const leaseLater = (release: () => void) => void leases.push({ member, release })
      attempt(member, () => run(call, member, 'DEL', { ...call.config, leaseLater }))
    }
    // An address that one of our rules still leads to is nobody else's yet; whoever repeats the DEL gives it back.
    if (!failed.some(({ member }) => member.plugin)) {
      for (const { member, release } of leases) attempt(member, () => named(member, release))
    }
    throwTogether(failed.map(({ error }) => error))
  },

  status(call) {
    const problems = [...emptyProblems(call), ...nestedProblems(call), ...capabilityProblems(call)]
    if (problems.length > 0) throw new CniError(codes.notAvailable, 'the chain cannot serve', { problems })
    for (const member of membersOf(call)) {
      const { index, type, plugin } = member
      try {
        named(member, () => requireInstalled(call, member))
      } catch (thrown) {
        throw unavailable(asCniError(thrown))
      }
      if (!plugin) call.host.warn(`chain: plugins[${index}] ${type} is executed: it is not of this file`)
      named(member, () => requireVersion(call, member))
      run(call, member, 'STATUS', {})
    }
  },

  gc(call) {
    attemptAll(...membersOf(call).map((member) => () => void run(call, member, 'GC', {})))
  },
})

// --- internal

interface Lease {
  readonly member: Member
  readonly release: () => void
}

/** The members, each of which is there and knows the version. @throws before anything is done */
function prepared(call: ChainCall): readonly Member[] {
  const members = membersOf(call)
  for (const member of members) named(member, () => requireInstalled(call, member))
  for (const member of members) named(member, () => requireVersion(call, member))
  return members
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
      if (!value || capabilities[name]) return []
      const fix = `write "${name}": true into the chain's own "capabilities"`
      return [
        { path: `plugins[${index}].capabilities.${name}`, value, expected: 'a capability that the chain has', fix },
      ]
    }),
  )
}
