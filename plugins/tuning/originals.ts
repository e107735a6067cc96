import type { Netns } from '../../shared/exec/records.js'
import {
  asState,
  clearDrafts,
  systemStateFiles as files,
  namesIn,
  parseState,
  readState,
  replaceState,
  stateVersion,
  Unusable,
  whyUnusable,
} from '../../shared/exec/state.js'
import { compareNetns, inodeOf } from '../../shared/net/netns.js'
import type { Host } from '../../shared/plan/host.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { macOf } from '../../shared/values/checks.js'
import { isAbsent, messageOf } from '../../shared/values/errno.js'
import { asCniError, CniError, codes } from '../../shared/values/errors.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { isRestorable } from './sysctls.js'

/** What of a link can be tuned; absent is left as it is. */
export interface Attributes {
  readonly mac?: string
  readonly promisc?: boolean
  readonly mtu?: number
  readonly allmulti?: boolean
  readonly txQLen?: number
}

/**
 * The values before the tuning, in the file and format of the official plugin, which restores the link's attributes
 * from it; `sysctl` (path -> value) and `podwire` are ours, and it passes over them.
 */
export interface Originals extends Attributes {
  readonly sysctl?: Readonly<Record<string, string>>
  readonly podwire?: Mark
}

/** Whose values they are. */
interface Mark extends Attachment {
  /**
   * Of which namespace, its link included, with the MAC address that it is given: that of a restarted container is
   * another one.
   */
  readonly netns?: Netns
  /** What podwire 0.1.0 wrote of it: inode, index and peer. */
  readonly link?: string
}

export function fileOf(dataDir: string, { containerID, ifName }: Attachment): string {
  return `${dataDir}/${containerID}_${ifName}.json`
}

/** What a file says; undefined where there is none, or nothing that can be understood, which is told of. */
export function readOriginals(host: Host, file: string): Originals | undefined {
  try {
    const text = readState(files, file)
    return text === undefined ? undefined : understood(parseState(text))
  } catch (thrown) {
    skip(host, file, whyUnusable(thrown))
    return undefined
  }
}

/**
 * Whether values are those of the link at hand; the official plugin's say nothing of it, and count as such. Where the
 * ADD was killed, the link has its own MAC address still.
 */
export function areOf(
  host: Host,
  { mac, podwire }: Originals,
  netns: string,
  look: () => ObservedLink | undefined,
): boolean {
  if (!podwire?.netns) return podwire?.link === undefined || podwire.link === linkOf010(netns, look())
  const { link: known } = podwire.netns
  const untuned = (link: ObservedLink | undefined) =>
    link && known && mac === link.address ? { ...link, address: known.mac } : link
  if (compareNetns(host, podwire.netns, netns, () => untuned(look())) !== 'same') return false
  // One that is gone has nothing to restore; one that was made anew is another.
  return known === undefined || (look()?.ifindex ?? known.index) === known.index
}

/**
 * Notes the values before a tuning; taken back when the ADD fails. Of a link that is tuned again the first values stay:
 * the present ones are ours already.
 */
export function keepOriginals(host: Host, file: string, present: Originals, before: Originals | undefined): void {
  const sysctl = { ...present.sysctl, ...before?.sysctl }
  const kept = before ? { ...present, ...before, ...(Object.keys(sysctl).length > 0 ? { sysctl } : {}) } : present
  host.change(`note the original values in ${file}`, () => {
    const former = readOriginals(host, file)
    host.journal.note(() => {
      try {
        if (former) write(file, former)
        else remove(host, file)
        return []
      } catch (thrown) {
        return [asCniError(thrown)]
      }
    })
    write(file, { ...kept, ...(present.podwire ? { podwire: present.podwire } : {}) })
  })
}

/** Also what an ADD that was killed while it wrote may have left. */
export function forgetOriginals(host: Host, file: string): void {
  host.change(`forget ${file}`, () => {
    remove(host, file)
    clear(host, draftsOf(file))
  })
}

/** The files of a network's attachments that are no longer valid; the official plugin's name no network and stay. */
export function staleFiles(
  host: Host,
  dataDir: string,
  network: string,
  valid: readonly { containerID: string; ifname: string }[],
): readonly string[] {
  const alive = new Set(valid.map(({ containerID, ifname }) => `${containerID}/${ifname}`))
  return listed(host, dataDir)
    .filter((name) => name.endsWith('.json'))
    .map((name) => `${dataDir}/${name}`)
    .filter((file) => {
      const owner = readOriginals(host, file)?.podwire
      return owner?.network === network && !alive.has(`${owner.containerID}/${owner.ifName}`)
    })
}

// --- internal

/** In the official order, one space of indent. */
function write(file: string, { mac, promisc, mtu, allmulti, txQLen, sysctl, podwire }: Originals): void {
  const mark = podwire && { ...podwire, version: stateVersion }
  const text = JSON.stringify({ mac, promisc, mtu, allmulti, txQLen, sysctl, podwire: mark }, null, 1)
  try {
    replaceState(files, file, text, draftsOf(file))
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot write ${file}`, {
      details: messageOf(thrown),
      fix: 'make dataDir a writable directory: it keeps what DEL restores',
      cause: thrown,
    })
  }
}

/** Apart from the files, which grow with the containers: looking for drafts must not. */
function draftsOf(file: string) {
  const slash = file.lastIndexOf('/')
  return { directory: `${file.slice(0, slash)}/.podwire`, prefix: `${file.slice(slash + 1)}.` }
}

function remove(host: Host, file: string): void {
  try {
    files.unlinkSync(file)
  } catch (thrown) {
    if (!isAbsent(thrown)) skip(host, file, `cannot be removed: ${messageOf(thrown)}`)
  }
}

function clear(host: Host, drafts: ReturnType<typeof draftsOf>): void {
  try {
    clearDrafts(files, drafts)
  } catch (thrown) {
    skip(host, drafts.directory, whyUnusable(thrown))
  }
}

function listed(host: Host, directory: string): readonly string[] {
  try {
    return namesIn(files, directory)
  } catch (thrown) {
    skip(host, directory, whyUnusable(thrown))
    return []
  }
}

function skip(host: Host, path: string, why: string): void {
  host.warn(`tuning: ${path} ${why}: it is skipped`)
}

/** The members that have the right type: the file may be an older version's, or somebody else's. */
function understood(found: Readonly<Record<string, unknown>>): Originals {
  const originals: Record<string, unknown> = {}
  for (const [key, type] of Object.entries(types)) if (typeof found[key] === type) originals[key] = found[key]
  const { mac: _, sysctl: __, podwire: ___, ...others } = originals
  const mac = macOf(String(originals['mac'] ?? ''))
  const sysctl = settingsIn(originals['sysctl'])
  const podwire = markIn(originals['podwire'])
  return {
    ...others,
    ...(mac === undefined ? {} : { mac }),
    ...(sysctl ? { sysctl } : {}),
    ...(podwire ? { podwire } : {}),
  }
}

/** Settings of the namespace only: what is otherwise no ADD has written. */
function settingsIn(found: unknown): Readonly<Record<string, string>> | undefined {
  if (found === undefined || found === null) return undefined
  const entries = Object.entries(found as object)
  if (!entries.every(([path, value]) => isRestorable(path, value)))
    throw new Unusable('has a "sysctl" that no ADD wrote')
  return Object.fromEntries(entries)
}

function markIn(found: unknown): Mark | undefined {
  if (found === undefined || found === null) return undefined
  const mark = asState(found) as unknown as Mark
  const { network, containerID, ifName, netns } = mark
  const texts = [network, containerID, ifName, netns?.path ?? '']
  if (texts.every((one) => typeof one === 'string')) return mark
  throw new Unusable('has a "podwire" that no ADD wrote')
}

function linkOf010(netns: string, link: ObservedLink | undefined): string {
  return link ? `${inodeOf(netns)}/${link.ifindex}/${link.link_index ?? 0}` : ''
}

const types: Record<keyof Originals, string> = {
  mac: 'string',
  promisc: 'boolean',
  mtu: 'number',
  allmulti: 'boolean',
  txQLen: 'number',
  sysctl: 'object',
  podwire: 'object',
}
