import { compareAddress, formatAddress, parseAddress } from '../shared/values/address.js'
import { type CommandCall, type Definition, Ended, fine, found, type Status, wrong } from './frame/command.js'
import { visible } from './frame/visible.js'
import { ownKernel } from './node/kernel.js'
import { isLeaseIn, type NetworkRange, type StoredLease } from './node/leases.js'
import type { KnownAttachment, Node } from './node/node.js'
import { age, attachmentJson, shortID, warnOfUnused } from './node/print.js'
import { FileReader } from './node/reader.js'
import { release, reprieve, takeFrom } from './node/release.js'
import { lookAtNode, socketOption } from './node/sockets.js'

/** `podwire leases`, and `podwire leases free ADDRESS`. */
export default {
  name: 'leases',
  summary: "list host-local's leases by network and range, with their holders, and give back one that is dead",
  details: [
    'Leases of the official plugin and of podwire lie in the same files. The folders are --data, those that ' +
      'configurations and cached results name, and /run/cni/networks.',
    'free ADDRESS gives back a lease whose holder is provably dead: its namespace is gone, no namespace of the host has ' +
      'the address, and it is ten minutes old. It takes the lock that the plugins take, and looks again under it.',
  ],
  arguments: [
    { words: '[action]', what: 'free: give a lease back', values: () => ['free'] },
    { words: '[address]', what: 'the address of the lease' },
  ],
  options: [
    { flags: '--network <name>', what: 'only the leases of this network' },
    { flags: '--dry-run', what: 'with free: only say what would be given back (status 1: something)' },
    socketOption,
  ],
  places: ['root', 'conf', 'data'],
  json: '`ranges`, `leases`, and `unused` files',
  finds: 'with free: the lease is not provably dead, or with --dry-run it would be given back',
  examples: [
    { line: 'podwire leases --network pods', what: 'lists the leases of one network' },
    { line: 'podwire leases free 10.1.2.3', what: 'gives that address back, if its holder is dead' },
  ],
  run: async (call) => {
    const [action, address = ''] = call.words
    const reader = new FileReader(call.place)
    const node = await lookAtNode(call, reader)
    const { network } = call.options
    const held = node.attachments
      .flatMap((attachment) => attachment.leases.map((lease) => ({ attachment, lease })))
      .filter(({ lease }) => network === undefined || lease.network === network)
    if (action === undefined) return list(call, reader, held, node)
    if (action !== 'free') throw new Ended(wrong, `"${action}" is no action: free`)
    return free(call, theOne(held, address))
  },
} satisfies Definition

// --- internal

/** @throws Ended where it is none, or several */
function theOne(held: readonly Held[], text: string): Held {
  const wanted = parseAddress(text)
  if (!wanted) throw new Ended(wrong, `"${text}" is no address`)
  const found = held.filter(({ lease }) => compareAddress(lease.address, wanted) === 0)
  const [one, other] = found
  if (!one) throw new Ended(wrong, `nobody has a lease of ${text}`)
  if (!other) return one
  const networks = found.map(({ lease }) => lease.network).join(', ')
  throw new Ended(wrong, `${text} is leased in several networks, choose with --network: ${networks}`)
}

function free({ console, options, place, asJson }: CommandCall, { attachment, lease }: Held): Status {
  const address = formatAddress(lease.address)
  const tell = (outcome: 'freed' | 'kept' | 'would be freed', why: string) => {
    if (asJson) console.json('leases', { address, outcome, why, ...attachmentJson(attachment) })
    else console.write(visible(`${address} of ${lease.network} and ${lease.containerID}: ${outcome}: ${why}`))
    return outcome === 'freed' ? fine : found
  }
  const { how } = attachment.life
  if (!place.isHost) return tell('kept', how)
  const why = reprieve(attachment, ownKernel())
  if (why !== undefined) return tell('kept', why)
  if (options['dryRun']) return tell('would be freed', how)
  const [outcome] = takeFrom(
    [attachment],
    (text) => console.warn(text),
    (host) => {
      release(host, lease)
      return [lease.file]
    },
  )
  return outcome && 'taken' in outcome ? tell('freed', how) : tell('kept', outcome?.kept ?? '')
}

function list(call: CommandCall, reader: FileReader, held: readonly Held[], node: Node): Status {
  const { console, options, asJson } = call
  const isChosen = ({ network }: NetworkRange) => [undefined, network].includes(options['network'] as string)
  const ranges = node.ranges.filter(isChosen).map((range) => ({ range, used: usedIn(range, held) }))
  if (asJson) {
    console.json('leases', { ranges: ranges.map(rangeJson), leases: held.map(leaseJson), unused: reader.unused })
    return fine
  }
  if (ranges.length > 0) {
    console.table(rangeHeadings, ranges.map(rangeRow))
    console.write('')
  }
  console.table(headings, held.map(leaseRow(node.ranges)))
  warnOfUnused(call, reader)
  return fine
}

interface Held {
  readonly attachment: KnownAttachment
  readonly lease: StoredLease
}

interface Filled {
  readonly range: NetworkRange
  readonly used: { readonly all: number; readonly dead: number }
}

function usedIn(range: NetworkRange, held: readonly Held[]): Filled['used'] {
  const inside = held.filter(({ lease }) => isLeaseIn(lease, range))
  return { all: inside.length, dead: inside.filter(({ attachment: { life } }) => life.state === 'dead').length }
}

const rangeHeadings = ['NETWORK', 'RANGE', 'USED', 'DEAD', 'FREE', 'SIZE', 'FULL']

function rangeRow({ range, used }: Filled): readonly string[] {
  const { network, text, size } = range
  const numbers = [used.all, used.dead, size - BigInt(used.all), size].map(String)
  return [network, text, ...numbers, percent(used.all, size)]
}

function percent(used: number, size: bigint): string {
  return size === 0n ? '100%' : `${(BigInt(used) * 100n) / size}%`
}

function rangeJson({ range: { network, dataDir, text, size }, used }: Filled) {
  const [start, end] = text.split('-')
  return { network, dataDir, start, end, size: String(size), used: used.all, dead: used.dead }
}

const headings = ['NETWORK', 'RANGE', 'ADDRESS', 'CONTAINER', 'NAME', 'INTERFACE', 'AGE', 'STATE', 'HOW']

function leaseRow(ranges: readonly NetworkRange[]) {
  return ({ lease, attachment: { name, life } }: Held): readonly string[] => {
    const range = ranges.find((one) => isLeaseIn(lease, one))?.text ?? ''
    const holder = [shortID(lease.containerID), name, lease.ifName, age(lease.modified)]
    return [lease.network, range, formatAddress(lease.address), ...holder, life.state, life.how]
  }
}

function leaseJson({ lease, attachment }: Held) {
  const { file, address, modified } = lease
  const since = new Date(modified).toISOString()
  return { address: formatAddress(address), file, ...attachmentJson(attachment), since }
}
