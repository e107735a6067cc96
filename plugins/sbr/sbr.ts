import { withNetnsLock } from '../../shared/exec/lock.js'
import { readRecord, recordWritings, removeRecord, staleRecords, writeRecord } from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { compareNetns, livingNetns, netnsAt, requireNetns } from '../../shared/net/netns.js'
import { features } from '../../shared/net/probe.js'
import { destinationOf, reservedTables, type SourceRule, tableOf } from '../../shared/net/routing.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Routing } from '../../shared/plan/observer.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import { parseAddress } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { emptyResult, type IpConfiguration } from '../../shared/values/result.js'
import { bare, planSteering, type Steering, steer, unsteerRoutes, unsteerRules } from './plan.js'
import type { SbrConfiguration } from './sbr.schema.js'

type SbrCall = Call<SbrConfiguration>

const recordKind = 'sbr'

/**
 * Routes what an interface's addresses send out of that interface: each address gets a rule and a table of its own,
 * with the routes of the interface in it. So an answer leaves by the network the question came from.
 */
export default definePlugin<SbrConfiguration>({
  name: 'sbr',
  official: () => ({
    load: 'failed to parse network configuration: ',
    library: 'NetConf.',
    structs: { '': 'PluginConf' },
    fields: { prevResult: 'prevResult' },
    unchained: { ADD: 'This plugin must be called as chained plugin' },
    says: ({ path, value }) =>
      path.startsWith('gateways[') ? `invalid static gateway IP address: ${value}` : undefined,
  }),

  prevResult: { ADD: 'required', CHECK: 'optional' },
  refuse: ({ config }) => gatewayProblems(config),

  add(call) {
    const { config, host, environment, attachment, prevResult = emptyResult } = call
    const { ifName } = environment
    if (prevResult.ips.length === 0) throw noAddresses(ifName)
    if (config.table && config.gateways) host.warn('sbr: "gateways" is for tables that sbr fills itself')
    const netns = requireNetns(environment.netns)
    locked(host, netns, () => {
      undo(host, attachment, netns)
      const link = requireLink(host.observer.link(ifName, netns), ifName)
      const routing = !config.table ? host.observer.routing(netns) : { rules: [], routes: [] }
      const steering = planSteering(routing, { ifName, ips: ipsOf(call), config })
      writeRecord<Steering>(host, recordKind, attachment, steering, { netns: netnsAt(host, netns, link) })
      host.apply(steer(netns, steering))
    })
    return prevResult
  },

  check(call) {
    throwDifferences(differences(call))
  },

  del({ config, host, environment, attachment }) {
    const netns = livingNetns(environment.netns)
    if (netns !== undefined) {
      locked(host, netns, () => {
        if (undo(host, attachment, netns)) return
        const own = host.observer.link(environment.ifName, netns)
        const rules = own && own.addr_info.length > 0 ? officialRules(own, host.observer.routing(netns), config) : []
        host.sweep(unsteerRules(netns, { rules }))
      })
    }
    removeRecord(host, recordKind, attachment)
  },

  status({ config, host }) {
    const writes = recordWritings(config.name, recordKind)
    requireForAdd(host, { features: [features.rules], programs: ['nsenter', 'ip'], writes })
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    attemptAll(
      ...staleRecords<Steering>(host, recordKind, config.name, validAttachments).map((entry) => () => {
        const { attachment } = entry
        const netns = livingNetns(entry.netns?.path ?? '')
        if (netns !== undefined) locked(host, netns, () => undo(host, attachment, netns))
        removeRecord(host, recordKind, attachment)
      }),
    )
  },
})

// --- internal

/**
 * One at a time in a namespace: free tables are looked for and taken. The official plugin locks the namespace's file.
 */
function locked(host: Host, netns: string, body: () => void): void {
  withNetnsLock(host, netns, body, { official: true })
}

/**
 * Undoes what is on record of this very namespace: to another one it would bring routes that it never had. The rules
 * must go; routes that cannot go back into the main table, because their interface or address is gone, are only told
 * of.
 * @returns false where nothing is on record
 */
function undo(host: Host, attachment: Attachment, netns: string): boolean {
  const record = readRecord<Steering>(host, recordKind, attachment)
  const lookInside = () => host.observer.link(attachment.ifName, netns)
  if (!record || compareNetns(host, record.netns, netns, lookInside) !== 'same') return false
  host.sweep(unsteerRules(netns, record.data))
  try {
    host.sweep(unsteerRoutes(netns, record.data))
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    host.warn(`sbr: some routes are not back in the main table: ${thrown.message}`)
  }
  return true
}

/** What the official plugin left: rules from the addresses that the interface has. */
function officialRules(
  { addr_info }: ObservedLink,
  routing: Routing,
  config: Pick<SbrConfiguration, 'table'>,
): readonly SourceRule[] {
  const own = addr_info.map(({ local = '' }) => local)
  return rulesOf(routing).filter(({ from, table }) => own.includes(from) && (!config.table || config.table === table))
}

/** The rules from single addresses to tables that are not the kernel's. */
function rulesOf({ rules }: Routing): readonly SourceRule[] {
  return rules
    .map(({ src = 'all', srclen, table = '0' }) => ({ from: srclen === undefined ? src : 'all', table: Number(table) }))
    .filter(({ from, table }) => from !== 'all' && !reservedTables.includes(table))
}

/** The addresses of this interface: those the result gives to it, and those it gives to none it knows. */
function ipsOf({ environment, prevResult = emptyResult }: SbrCall): readonly IpConfiguration[] {
  const { interfaces, ips } = prevResult
  return ips.filter(({ interface: index }) => {
    const owner = index === undefined ? undefined : interfaces[index]
    return owner === undefined || owner.name === environment.ifName
  })
}

function differences(call: SbrCall): readonly Problem[] {
  const { host, environment, attachment, config } = call
  const netns = requireNetns(environment.netns)
  const routing = host.observer.routing(netns)
  const record = readRecord<Steering>(host, recordKind, attachment)?.data
  const rules = rulesOf(routing)
  const problems = ipsOf(call).flatMap(({ address }) => {
    const own = rules.filter(({ from }) => from === bare(address))
    const wanted = config.table || record?.rules.find(({ from }) => from === bare(address))?.table
    const isThere = wanted === undefined ? own.length > 0 : own.some(({ table }) => table === wanted)
    const expected = `a rule from ${bare(address)} to ${wanted === undefined ? 'a table of its own' : `table ${wanted}`}`
    return isThere ? [] : [{ path: 'rules', value: own, expected }]
  })
  return [...problems, ...routeDifferences(routing, record)]
}

function routeDifferences({ routes }: Routing, record: Steering | undefined): readonly Problem[] {
  const present = new Set(routes.map((route) => `${destinationOf(route)} ${route.gateway ?? ''} ${tableOf(route)}`))
  return (record?.put ?? []).flatMap(({ words, table }) => {
    const via = words.indexOf('via') < 0 ? '' : words[words.indexOf('via') + 1]
    if (words.includes('nexthop') || via === 'inet6' || present.has(`${words[0]} ${via} ${table}`)) return []
    return [{ path: `routes of table ${table}`, value: 'no such route', expected: words.join(' ') }]
  })
}

function gatewayProblems({ gateways = [] }: SbrConfiguration): readonly Problem[] {
  const families = gateways.map((one) => parseAddress(one)?.family)
  const again = families.findIndex((family, index) => families.indexOf(family) < index)
  if (again < 0) return []
  const [one, two] = [gateways[families.indexOf(families[again])], gateways[again]]
  const official =
    gateways.length > 2
      ? 'gateways list cannot contain more than 2 entries (one IPv4, one IPv6)'
      : `gateways list contains multiple IPv${families[again]} addresses: ${one} and ${two}`
  return [{ path: 'gateways', value: gateways, expected: 'at most one IPv4 and one IPv6 address', official }]
}

function noAddresses(ifName: string): CniError {
  return new CniError(codes.invalidConfiguration, `No IP addresses supplied on interface: ${ifName}`, {
    problems: [
      { path: 'prevResult.ips', value: [], expected: 'the addresses that the plugin before gave to the interface' },
    ],
  })
}

function requireLink(link: ObservedLink | undefined, ifName: string): ObservedLink {
  if (link) return link
  throw new CniError(codes.operationFailed, `Cannot find network interface ${ifName}: Link not found`, {
    fix: 'call sbr behind the plugin that makes the interface',
  })
}
