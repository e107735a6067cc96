import { type Netns, readRecord } from '../../shared/exec/records.js'
import { setLink, setUp } from '../../shared/net/ip.js'
import { compareNetns, lingering, livingNetns } from '../../shared/net/netns.js'
import type { Host } from '../../shared/plan/host.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { isLinkName } from '../../shared/values/checks.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { quoted } from '../../shared/values/token.js'
import { isDevice, isMarked, isOfHost, isOfMake, type Moved, makeOf } from './identity.js'
import { type DeviceNetwork, forgetRules, restoreNetwork } from './network.js'

export const recordKind = 'host-device'

/**
 * Moves a device into the container under its new name. It carries its old name as its alias, as the official plugin
 * leaves it, so that either suite can give it back. It arrives under a name that nobody else has: neither the host's
 * other links nor the container's can be in its way, and udev never sees the new name.
 * What takes it back is returnDevice, which finds the device whatever it is called in the container by then.
 */
export function moveIn(moved: Moved, { attachment, ifName, netns }: Target): readonly Operation[] {
  const { device } = moved
  const passing = passingName(attachment)
  return [
    setAlias(device, device),
    setLink({ link: device }, ['netns', netns, 'name', passing], `move ${device} into the container`),
    {
      ...setLink({ link: passing, netns }, ['name', ifName], `rename ${device} to ${ifName}`),
      meaning: {
        exists: {
          code: codes.nameTaken,
          fix: 'remove or rename the interface that is there; a DEL of the attachment does',
        },
      },
    },
  ]
}

/**
 * Gives the attachment's device back: its name, its alias and its state. Nothing to do when it is not in the container
 * any more (unplugged, or gone with its namespace), except to rename what the kernel gave back itself. A namespace that
 * a process keeps is the one on record although nothing is at its path any more.
 * @param known what the device was, where that need not be looked up
 * @returns whether a namespace or a record told where the device was
 * @throws code 103 when the host has another link of its name, and everything stays where it is; a later DEL does it
 */
export function returnDevice(host: Host, attachment: Attachment, given: string, known?: Moved): boolean {
  const entry = readRecord<Moved>(host, recordKind, attachment)
  const record = known ?? entry?.data
  const named = namespaceOf(host, entry?.netns, given)
  const isKept = named === undefined && record !== undefined && onHost(host, record).length === 0
  const netns = isKept ? lingering(host, entry?.netns) : named
  const inside = netns === undefined ? undefined : findInside(host, { attachment, record, netns })
  if (inside && netns !== undefined) {
    if (isKept)
      host.warn(`host-device: a process keeps the container's namespace (${netns}): ${inside.device} is taken out`)
    moveOut(host, { ...inside, netns, record })
  } else if (record) restoreOnHost(host, record, attachment)
  return record !== undefined || netns !== undefined
}

/** The namespace of this process by a path that another one can open: that of process 1 where it is the same. */
function ownNetns({ files }: Host): string {
  const own = files.readLink('/proc/self/ns/net')
  try {
    if (files.readLink('/proc/1/ns/net') === own) return '/proc/1/ns/net'
  } catch {
    // Not to be looked at: in another container, say.
  }
  return `/proc/${files.readLink('/proc/self')}/ns/net`
}

// --- internal

/**
 * The namespace a device is in: the given one, else that on record. One that is known to be another has never had the
 * device; where that cannot be told, the device's own marks in it decide.
 */
function namespaceOf(host: Host, recorded: Netns | undefined, given: string): string | undefined {
  return [given, recorded?.path ?? '']
    .map(livingNetns)
    .find((path) => path !== undefined && (!recorded || compareNetns(host, recorded, path) !== 'other'))
}

interface Target {
  readonly attachment: Attachment
  readonly netns: string
  readonly ifName: string
}

interface AsBefore {
  readonly device: string
  readonly up: boolean
  readonly alias?: string | undefined
  readonly network?: DeviceNetwork | undefined
}

interface Leaving {
  readonly link: ObservedLink
  readonly device: string
  readonly passing: string
  readonly netns: string
  readonly record: Moved | undefined
}

/** The name of a device on its way, the attachment's own. */
function passingName(attachment: Attachment): string {
  return `dev${attachmentHash(attachment).slice(0, 12)}`
}

/** An empty text removes the alias. */
function setAlias(link: string, alias: string): Operation {
  return setLink(
    { link },
    ['alias', quoted(alias)],
    alias === '' ? `take its alias from ${link}` : `note ${alias} on ${link}`,
  )
}

/**
 * The device in the container, whatever its name there by now, also that of its way where an ADD was killed. Its name
 * on the host is the record's; what the official plugin moved has no record, and an alias that says it: that is taken
 * from a link alone that is the host's.
 * @throws code 100 when there are several, and everything stays where it is
 */
function findInside(
  host: Host,
  { attachment, record, netns }: { attachment: Attachment; record: Moved | undefined; netns: string },
): Pick<Leaving, 'link' | 'device' | 'passing'> | undefined {
  const passing = passingName(attachment)
  const names = [passing, attachment.ifName]
  const links = linksIn(host, netns, names)
  if (record) {
    const link = onlyOne(
      record,
      links.filter((one) => isDevice(record, one, names.includes(one.ifname))),
    )
    const pretended = link ? undefined : links.find((one) => isMarked(record, one))
    if (pretended) {
      host.warn(`host-device: ${pretended.ifname} in the container passes for ${record.device}, and is not: it stays`)
    }
    return link && { link, device: record.device, passing }
  }
  const link = names.flatMap((name) => links.find(({ ifname }) => ifname === name) ?? [])[0]
  const device = link?.ifalias
  if (!link || device === undefined || !isLinkName(device)) return undefined
  if (isOfHost(host, netns, link)) return { link, device, passing }
  host.warn(`host-device: ${link.ifname} in the container passes for ${device}, and may be made there: it stays`)
  return undefined
}

/**
 * All links of a namespace; those of the names that the device has from us where no process can be had to list them.
 */
function linksIn({ observer }: Host, netns: string, names: readonly string[]): readonly ObservedLink[] {
  try {
    return observer.links(netns)
  } catch (thrown) {
    if (!(thrown instanceof CniError)) throw thrown
    return names.flatMap((name) => observer.link(name, netns) ?? [])
  }
}

function onlyOne(record: Moved, links: readonly ObservedLink[]): ObservedLink | undefined {
  if (links.length < 2) return links[0]
  const names = links.map(({ ifname }) => ifname).join(' and ')
  throw new CniError(codes.operationFailed, `cannot tell which link is ${record.device}: ${names} both look like it`, {
    details: 'everything stays as it is',
    fix: 'remove the one that is not, and repeat the DEL',
  })
}

/**
 * What arrives is down, and stays so until it is known to be what left: its name in the container may have been given
 * to another meanwhile.
 */
function moveOut(host: Host, leaving: Leaving): void {
  const { link, device, passing, netns, record } = leaving
  if (host.observer.hasLink(device)) throw occupied(device, link.ifname)
  host.apply(planReturn(leaving, ownNetns(host)))
  const arrived = host.dryRun ? undefined : host.observer.link(device)
  if (arrived && !isOfMake(record ?? makeOf(link), arrived)) {
    host.apply([setLink({ link: device }, ['netns', netns, 'name', passing], `put ${passing} back into the container`)])
    throw exchanged(device)
  }
  host.apply(asBefore({ up: false, ...record, device, alias: record?.alias }))
}

/** Out of the container, by the name of its way. */
function planReturn({ link, device, passing, netns, record }: Leaving, target: string): readonly Operation[] {
  const at = { link: link.ifname, netns }
  const rename = setLink(at, ['name', passing], `rename ${link.ifname}`)
  return [
    ...(record?.network ? forgetRules(record.network, { device, ifName: link.ifname }, netns) : []),
    setLink(at, ['down'], `set ${link.ifname} down`),
    ...(link.ifname === passing ? [] : [rename]),
    setLink({ link: passing, netns }, ['netns', target, 'name', device], `give ${device} back to the host`),
  ]
}

function exchanged(device: string): CniError {
  return new CniError(
    codes.operationFailed,
    `cannot give ${device} back: the container put another link in its place`,
    { fix: 'end what runs in the container, and repeat the DEL' },
  )
}

/**
 * Puts a device in order that is on the host already: the kernel moved it when its namespace ended, or a DEL was
 * killed.
 */
function restoreOnHost(host: Host, record: Moved, attachment: Attachment): void {
  const { device } = record
  const link = onlyOne(record, onHost(host, record))
  if (!link || (link.ifname === device && link.ifalias !== device)) return
  if (link.ifname !== device && host.observer.hasLink(device)) throw occupied(device, link.ifname)
  host.apply([...renameOnHost(link.ifname, device, attachment), ...asBefore(record)])
}

/** Nothing where it has its name already. */
function renameOnHost(link: string, device: string, { ifName }: Attachment): readonly Operation[] {
  if (link === device) return []
  return [
    setLink({ link }, ['down'], `set ${link} down`),
    setLink({ link }, ['name', device], `rename ${ifName} to ${device}`),
  ]
}

/** The links of the host that can be the device. */
function onHost(host: Host, record: Moved): readonly ObservedLink[] {
  const isHardware = record.parent !== undefined
  return host.observer.links().filter((link) => isOfMake(record, link) && (isHardware || isMarked(record, link)))
}

/** The alias last: until then it tells a next DEL that something is left to do. */
function asBefore({ device, up, alias = '', network }: AsBefore): readonly Operation[] {
  return [
    ...(up ? [setUp({ link: device })] : []),
    ...(network ? restoreNetwork(device, network) : []),
    setAlias(device, alias),
  ]
}

function occupied(device: string, ifName: string): CniError {
  return new CniError(
    codes.nameTaken,
    `cannot give ${ifName} its name ${device} back: the host has another link of it`,
    {
      details: 'the device stays as it is, with its address',
      fix: `rename that link (ip link set dev ${device} name ANOTHER) and repeat the DEL`,
    },
  )
}
