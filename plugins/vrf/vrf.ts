import { withNetnsLock } from '../../shared/exec/lock.js'
import { readRecord, recordWritings, removeRecord, staleRecords, writeRecord } from '../../shared/exec/records.js'
import { throwDifferences } from '../../shared/net/interface.js'
import { addLink, deleteLink, setUp } from '../../shared/net/ip.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { compareNetns, livingNetns, netnsAt, requireNetns } from '../../shared/net/netns.js'
import { features } from '../../shared/net/probe.js'
import { freeTables, tablesInUse } from '../../shared/net/routing.js'
import { attemptAll, type Host } from '../../shared/plan/host.js'
import type { Routing } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { type Call, definePlugin } from '../../shared/program/plugin.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, invalidConfiguration, type Problem } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { nameFault } from '../../shared/values/official.js'
import { emptyResult } from '../../shared/values/result.js'
import { addToVrf, giveAgain, inTable, type Kept, keptOf, removeFromVrf, tableOfVrf } from './membership.js'
import type { VrfConfiguration } from './vrf.schema.js'

type VrfCall = Call<VrfConfiguration>

const recordKind = 'vrf'

/** Puts the interface into a VRF of the container, made for its first and removed with its last interface. */
export default definePlugin<VrfConfiguration>({
  name: 'vrf',
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'VRFNetConf' },
    types: { table: 'uint32' },
    prevResult: 'could not parse prevResult: could not parse prevResult: ',
    unchained: { ADD: 'missing prevResult from earlier plugin', CHECK: 'missing prevResult from earlier plugin' },
    says: ({ path, value }) => {
      if (path !== 'vrfname') return undefined
      const isMissing = value === '' || value === undefined
      if (isMissing) return 'configuration is expected to have a valid vrf name'
      return `cmdAdd failed: could not add VRF ${value}: ${nameFault(value)}`
    },
  }),

  since: '0.3.1',
  prevResult: { ADD: 'required', CHECK: 'required' },

  add(call) {
    const { host, environment, attachment, prevResult = emptyResult } = call
    const netns = requireNetns(environment.netns)
    withNetnsLock(host, netns, () => {
      const seen = lookInside(host, attachment, netns)
      const { link, record, plan } = planEntry(call, netns, { ...seen, routing: host.observer.routing(netns) })
      writeRecord<Enclosed>(host, recordKind, attachment, record, { netns: netnsAt(host, netns, link) })
      host.apply(plan)
    })
    return prevResult
  },

  check(call) {
    throwDifferences(differences(call))
  },

  del({ config, host, environment, attachment }) {
    const netns = livingNetns(environment.netns)
    if (netns !== undefined) withNetnsLock(host, netns, () => leave(host, { attachment, netns, vrf: config.vrfname }))
    removeRecord(host, recordKind, attachment)
  },

  status({ config, host }) {
    const writes = recordWritings(config.name, recordKind)
    requireForAdd(host, { features: [features.vrf], programs: ['nsenter', 'ip'], writes })
  },

  gc({ config, host, validAttachments }) {
    if (validAttachments === undefined) return
    attemptAll(
      ...staleRecords<Enclosed>(host, recordKind, config.name, validAttachments).map((entry) => () => {
        const { attachment, data } = entry
        const netns = livingNetns(entry.netns?.path ?? '')
        if (netns !== undefined)
          withNetnsLock(host, netns, () => leave(host, { attachment, netns, vrf: data.vrf, isKnown: true }))
        removeRecord(host, recordKind, attachment)
      }),
    )
  },
})

// --- internal

/** What GC must know to find the interface, and DEL to leave it as it was. */
interface Enclosed {
  readonly vrf: string
  readonly kept: Kept
}

/** What there is in a namespace, and on record of this very one. */
interface Seen {
  readonly links: readonly ObservedLink[]
  readonly record: Enclosed | undefined
}

function lookInside(host: Host, attachment: Attachment, netns: string): Seen {
  const links = host.observer.links(netns)
  const record = readRecord<Enclosed>(host, recordKind, attachment)
  const own = () => links.find(({ ifname }) => ifname === attachment.ifName)
  const isSame = record && compareNetns(host, record.netns, netns, own) === 'same'
  return { links, record: isSame ? record.data : undefined }
}

/** The interface, what is to be noted of it, and the operations that put it into the VRF. @throws code 7, 100 or 103 */
function planEntry(
  { config, environment: { ifName } }: Pick<VrfCall, 'config' | 'environment'>,
  netns: string,
  { links, record, routing }: Seen & { readonly routing: Routing },
): { readonly link: ObservedLink; readonly record: Enclosed; readonly plan: readonly Operation[] } {
  const vrf = config.vrfname
  const link = requireLink(links, ifName, vrf)
  const existing = existingTable(links, config)
  const table = existing ?? chooseTable(config, links, routing)
  const isInside = link.master === vrf
  // What was interrupted behind the step inside has lost what its record holds.
  const kept = (isInside ? record?.kept : undefined) ?? keptOf(link, routing)
  const at = { link: ifName, netns }
  return {
    link,
    record: { vrf, kept },
    plan: [
      ...(existing === undefined ? create({ link: vrf, netns }, table) : []),
      ...(isInside ? giveAgain(at, inTable(kept, table)) : addToVrf(at, { vrf, table, kept })),
    ],
  }
}

interface Leaving {
  readonly attachment: Attachment
  readonly netns: string
  readonly vrf: string
  /** Only what is on record is to be left: nobody says that the namespace is the attachment's. */
  readonly isKnown?: boolean
}

function create(at: { link: string; netns: string }, table: number): readonly Operation[] {
  return [addLink(at, ['type', 'vrf', 'table', String(table)], `create the VRF ${at.link}`), setUp(at)]
}

/**
 * Leaves the interface as it was before, and no VRF without an interface. A record that is there still means that
 * nobody has given back all yet, wherever the interface is by now. What cannot be given back is only told of.
 */
function leave(host: Host, { attachment, netns, vrf, isKnown = false }: Leaving): void {
  const seen = lookInside(host, attachment, netns)
  if (isKnown && !seen.record) return
  const at = { link: attachment.ifName, netns }
  // The configuration may name another by now.
  host.sweep(planLeaving(at, seen.record?.vrf ?? vrf, seen))
  try {
    host.sweep(planReturn(at, seen))
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    host.warn(`vrf: ${at.link} has not got back all it had outside of ${vrf}: ${thrown.message}`)
  }
}

/** Takes the interface out of the VRF, and the VRF away with its last one. */
function planLeaving(at: { link: string; netns: string }, vrf: string, { links, record }: Seen): readonly Operation[] {
  const isThere = links.some((link) => link.ifname === vrf && tableOfVrf(link) !== undefined)
  const inside = isThere ? links.filter(({ master }) => master === vrf).map(({ ifname }) => ifname) : []
  const isInside = inside.includes(at.link)
  const isLast = isThere && inside.every((one) => one === at.link) && (isInside || record !== undefined)
  return [...(isInside ? [removeFromVrf(at)] : []), ...(isLast ? [deleteLink({ link: vrf, netns: at.netns })] : [])]
}

/** Gives an interface that is there what it had before. */
function planReturn(at: { link: string; netns: string }, { links, record }: Seen): readonly Operation[] {
  return record && links.some(({ ifname }) => ifname === at.link) ? giveAgain(at, record.kept) : []
}

function requireLink(links: readonly ObservedLink[], ifName: string, vrf: string): ObservedLink {
  const link = links.find(({ ifname }) => ifname === ifName)
  if (!link) {
    throw new CniError(codes.operationFailed, `cmdAdd failed: could not get link by name ${ifName}`, {
      fix: 'call vrf behind the plugin that makes the interface',
    })
  }
  if (link.master === undefined || link.master === vrf) return link
  throw new CniError(
    codes.operationFailed,
    `cmdAdd failed: interface ${ifName} has already a master set: ${link.master}`,
    {
      problems: [{ path: `master of ${ifName}`, value: link.master, expected: `none, or ${vrf}` }],
    },
  )
}

/** The table of the VRF that is there; undefined when none is. @throws code 103 or 7 */
function existingTable(links: readonly ObservedLink[], { vrfname, table }: VrfConfiguration): number | undefined {
  const link = links.find(({ ifname }) => ifname === vrfname)
  if (!link) return undefined
  const actual = tableOfVrf(link)
  if (actual === undefined) {
    throw new CniError(codes.nameTaken, `cmdAdd failed: Netlink ${vrfname} is not a VRF`, {
      problems: [{ path: 'vrfname', value: vrfname, expected: 'a name that no other kind of link has' }],
    })
  }
  if (table === 0 || table === actual) return actual
  throw invalidConfiguration(
    [{ path: 'table', value: table, expected: `${actual}, or nothing` }],
    `cmdAdd failed: VRF ${vrfname} already exist with different routing table ${actual}`,
  )
}

/** The lowest table that no VRF, no rule and no route uses. */
function chooseTable({ table }: VrfConfiguration, links: readonly ObservedLink[], routing: Routing): number {
  if (table !== 0) return table
  const ofVrfs = links.map(tableOfVrf).filter((one) => one !== undefined)
  return freeTables(new Set([...ofVrfs, ...tablesInUse(routing)]), { first: 1, count: 1 })[0] as number
}

function differences({ config, host, environment }: VrfCall): readonly Problem[] {
  const { vrfname, table } = config
  const links = host.observer.links(requireNetns(environment.netns))
  const device = links.find(({ ifname }) => ifname === vrfname)
  const actual = device && tableOfVrf(device)
  if (actual === undefined) {
    return [
      {
        path: vrfname,
        value: device?.linkinfo?.info_kind ?? 'none',
        expected: 'a VRF of this name',
        official: 'Link not found',
      },
    ]
  }
  const link = links.find(({ ifname }) => ifname === environment.ifName)
  const problems: Problem[] = []
  if (table !== 0 && actual !== table)
    problems.push({ path: `table of ${vrfname}`, value: actual, expected: String(table) })
  if (!device?.flags.includes('UP')) problems.push({ path: vrfname, value: device?.flags, expected: 'the flag UP' })
  if (link?.master !== vrfname) {
    problems.push({
      path: `master of ${environment.ifName}`,
      value: link ? (link.master ?? 'none') : 'no such link',
      expected: vrfname,
    })
  }
  return problems
}
