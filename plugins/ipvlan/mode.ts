import {
  type Netns,
  recordsOfAllNetworks,
  recordWritings,
  removeRecord,
  staleRecords,
  writeRecord,
} from '../../shared/exec/records.js'
import type { Needs } from '../../shared/net/needs.js'
import { compareNetns, livingNetns, netnsAt } from '../../shared/net/netns.js'
import type { Machine } from '../../shared/plan/machine.js'
import type { Call } from '../../shared/program/plugin.js'
import { CniError, invalidConfiguration } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'

/**
 * The kernel has one mode for all ipvlan children of a master: making a child of another mode changes those that are
 * there without a word. They cannot be found from the master, because each is in its container's namespace; so each ADD
 * notes its own before it looks at the others', and of two at the same moment at least one is refused.
 * @throws code 7 naming the child that has another mode
 */
export function claimMode(call: Call, mode: string, master: ObservedLink, container?: string): void {
  const { host, environment, attachment } = call
  if (container === undefined) {
    const child = { master: master.ifindex, mode }
    writeRecord<Child>(host, kind, attachment, child, { netns: netnsAt(host, environment.netns) })
  }
  const others = container === undefined ? childrenOfHost(call, master) : childrenIn(host, container, master)
  const other = others.find((one) => one.mode !== mode)
  if (!other) return
  const problem = {
    path: 'mode',
    value: mode,
    expected: `"${other.mode}", as ${other.who} has on ${master.ifname}`,
    fix: 'use one mode for all networks on a master, or another master; a DEL of the other makes room',
  }
  throw invalidConfiguration([problem], `the ipvlan children of ${master.ifname} have another mode`)
}

/** What `claimMode` needs. */
export function modeNeeds({ config }: Call): Needs {
  return { writes: recordWritings(config.name, kind) }
}

/** Forgets the mode with the child that had it. */
export function releaseMode({ host, attachment }: Call): void {
  removeRecord(host, kind, attachment)
}

/** Forgets what attachments of the network had that are not valid any more. */
export function collectModes({ host, config, validAttachments }: Call): void {
  const stale = validAttachments ? staleRecords<Child>(host, kind, config.name, validAttachments) : []
  for (const { attachment } of stale) removeRecord(host, kind, attachment)
}

// --- internal

const kind = 'ipvlan'

/** What is noted of a child: the number of its master, which no other link gets before the next boot. */
interface Child {
  readonly master: number
  readonly mode: string
}

interface Other {
  readonly mode: unknown
  readonly who: string
}

/** Those noted, and those beside the master, which the kernel shows in /sys: no process where there are none. */
function childrenOfHost({ host, attachment }: Call, master: ObservedLink): readonly Other[] {
  const own = attachmentHash(attachment)
  const noted = recordsOfAllNetworks<Child>(host, kind).filter(
    (one) => one.data.master === master.ifindex && attachmentHash(one.attachment) !== own && isAlive(host, one.netns),
  )
  const prefix = 'upper_'
  const above = entries(host, `/sys/class/net/${master.ifname}`).filter((name) => name.startsWith(prefix))
  return [
    ...noted.map(({ attachment: { network, containerID, ifName }, data }) => ({
      mode: data.mode,
      who: `container ${containerID}, interface ${ifName}, network ${network}`,
    })),
    ...above.flatMap((name) => asOther(host.observer.link(name.slice(prefix.length)))),
  ]
}

function childrenIn(host: Pick<Machine, 'observer'>, netns: string, master: ObservedLink): readonly Other[] {
  return host.observer.links(netns).flatMap((link) => (link.link === master.ifname ? asOther(link) : []))
}

function asOther(link: ObservedLink | undefined): readonly Other[] {
  if (link?.linkinfo?.info_kind !== kind) return []
  return [{ mode: link.linkinfo.info_data?.['mode'], who: `the link ${link.ifname}` }]
}

function entries({ files }: Pick<Call['host'], 'files'>, directory: string): readonly string[] {
  try {
    return files.list(directory)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw thrown
  }
}

/** A path that leads to something else by now has outlived its namespace, too. */
function isAlive(host: Call['host'], netns: Netns | undefined): boolean {
  if (netns === undefined || compareNetns(host, netns, netns.path) === 'other') return false
  try {
    return livingNetns(netns.path) !== undefined
  } catch (thrown) {
    if (thrown instanceof CniError) return false
    throw thrown
  }
}
