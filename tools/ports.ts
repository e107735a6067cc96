import { ownerComment } from '../shared/values/names.js'
import { type Definition, fine } from './frame/command.js'
import type { KnownAttachment, PublishedPort } from './node/node.js'
import { attachmentJson, hostPort, shortID, warnOfUnused } from './node/print.js'
import { FileReader } from './node/reader.js'
import { type Listener, type PortRule, readListeners, readRules } from './node/rules.js'
import { lookAtNode, socketOption } from './node/sockets.js'

/** `podwire ports`: every published port with its holder, its rules, and who of the host listens there. */
export default {
  name: 'ports',
  summary: 'list the ports of the host that lead to containers, with their holders and who is in conflict',
  details: [
    "They are those of podwire's records, of the results that libcni keeps, and of rules: podwire's in nftables, the " +
      "official plugins' in nftables and iptables. A port on record that no rule leads anywhere is marked, and so is a " +
      'rule whose holder nothing tells of.',
    'HITS are the connections that came in since the rule was made, where rules count (iptables). A process of the ' +
      'host that listens on such a port gets what comes from 127.0.0.1, or nothing; what a runtime holds the port with ' +
      'for the container itself is no conflict.',
  ],
  options: [socketOption],
  places: ['root', 'conf', 'data'],
  json: '`ports` and `unused` files',
  examples: [{ line: 'podwire ports', what: 'lists them all' }],
  run: async (call) => {
    const reader = new FileReader(call.place)
    const { attachments } = await lookAtNode(call, reader)
    const ports = joined(attachments, readRules(reader), !call.place.isHost)
    const listeners = readListeners(reader, new Set(ports.map(({ port }) => Number(port))))
    const all = ports.map((one) => ({ ...one, listener: listenerOf(one, listeners), rivals: rivalsOf(one, ports) }))
    if (call.asJson) call.console.json('ports', { ports: all.map(jsonOf), unused: reader.unused })
    else {
      call.console.table(headings, all.map(rowOf))
      warnOfUnused(call, reader)
    }
    return fine
  },
} satisfies Definition

// --- internal

/** A port, on record, in rules, or in both. */
interface KnownPort {
  readonly protocol: string
  readonly address: string
  readonly port: string
  readonly to: string
  readonly holder: KnownAttachment | undefined
  /** Of a rule whose holder nothing else tells of. */
  readonly owner: string
  /** Undefined where rules cannot be asked. */
  readonly hasRule: boolean | undefined
  /** Undefined where nothing counts. */
  readonly hits: number | undefined
  /** What the rules are in; undefined where there is none, or they cannot be asked. */
  readonly backend: PortRule['backend'] | undefined
}

type ShownPort = KnownPort & { readonly listener: Listener | undefined; readonly rivals: readonly KnownAttachment[] }

function joined(
  attachments: readonly KnownAttachment[],
  rules: readonly PortRule[],
  isBlind: boolean,
): readonly KnownPort[] {
  const used = new Set<PortRule>()
  const byPort = Map.groupBy(rules, ({ protocol }) => protocol)
  const onRecord = attachments.flatMap((holder) =>
    holder.ports.map((port): KnownPort => {
      const own = (byPort.get(port.protocol) ?? []).filter((rule) => isOf(rule, port, holder))
      for (const rule of own) used.add(rule)
      const counted = own.filter(({ hits }) => hits !== undefined)
      return {
        protocol: port.protocol,
        address: port.address,
        port: String(port.host),
        to: port.to === '' ? `:${port.container}` : hostPort(port.to, port.container),
        holder,
        owner: '',
        hasRule: isBlind ? undefined : own.length > 0,
        hits: counted.length > 0 ? counted.reduce((sum, { hits }) => sum + (hits ?? 0), 0) : undefined,
        backend: own[0]?.backend,
      }
    }),
  )
  const others = rules
    .filter((rule) => !used.has(rule))
    .filter(({ to }) => !/^(0\.0\.0\.0|::)/.test(to))
    .map(({ protocol, address, port, to, owner, hits, backend }): KnownPort => {
      return { protocol, address, port, to, holder: undefined, owner, hasRule: true, hits, backend }
    })
  return [...onRecord, ...others]
}

/** Whether a rule is that of an attachment's port: ranges are of ours, which have a comment of their own. */
function isOf(rule: PortRule, port: PublishedPort, holder: KnownAttachment): boolean {
  const [first = 0, last = first] = rule.port.split('-').map(Number)
  if (port.host < first || port.host > last || rule.address !== port.address) return false
  if (port.family !== undefined && rule.family !== port.family) return false
  const isOwn = rule.owner === ownerComment(holder) || rule.owner.includes(holder.containerID)
  return isOwn || (rule.owner === '' && rule.to === hostPort(port.to, port.container))
}

/**
 * A process that listens on the same port of the same address, or either of every one; not one that names the container
 * among its arguments: Podman's conmon keeps the port taken for it.
 */
function listenerOf(
  { protocol, address, port, holder }: KnownPort,
  listeners: readonly Listener[],
): Listener | undefined {
  const isAny = (text: string) => text === '' || text === '0.0.0.0' || text === '::'
  return listeners.find(
    (one) =>
      one.protocol === protocol &&
      one.port === Number(port) &&
      !(holder && one.process.split(' ').includes(holder.containerID)) &&
      (isAny(address) || isAny(one.address) || one.address === address),
  )
}

/** Others that have the same port on record. */
function rivalsOf(one: KnownPort, ports: readonly KnownPort[]): readonly KnownAttachment[] {
  return ports.flatMap((other) => {
    const isSame = other.protocol === one.protocol && other.port === one.port && other.address === one.address
    const isOther = other.holder && one.holder && other.holder.containerID !== one.holder.containerID
    return isSame && isOther && other.holder ? [other.holder] : []
  })
}

const headings = ['PORT', 'TO', 'NETWORK', 'CONTAINER', 'NAME', 'RULE', 'HITS', 'STATE', 'IN CONFLICT WITH']

function rowOf(one: ShownPort): readonly string[] {
  const { protocol, address, port, to, holder, owner, hasRule, hits } = one
  const where = `${address === '' ? '' : `${address.includes(':') ? `[${address}]` : address}:`}${port}/${protocol}`
  const rule = hasRule === undefined ? '?' : hasRule ? 'yes' : 'missing'
  const who = holder ? [holder.network, shortID(holder.containerID), holder.name] : ['', owner, '']
  return [where, to, ...who, rule, hits === undefined ? '' : String(hits), holder?.life.state ?? '', conflict(one)]
}

function conflict({ listener, rivals }: ShownPort): string {
  const others = rivals.map(({ network, containerID }) => `${network}/${shortID(containerID)}`)
  return [
    ...(listener ? [`${short(listener.process)} on ${hostPort(listener.address, listener.port)}`] : []),
    ...others,
  ].join(', ')
}

/** "PID PROGRAM" and the first of its arguments. */
function short(process: string): string {
  return process.length > mostLetters ? `${process.slice(0, mostLetters)}...` : process
}

const mostLetters = 60

/** Why there is no number of hits. */
function whyUncounted({ hits, hasRule, backend }: KnownPort): string | null {
  if (hits !== undefined) return null
  if (hasRule === undefined) return 'its host cannot be asked'
  return backend === undefined ? 'it has no rule' : `rules of ${backend} count nothing`
}

function jsonOf(one: ShownPort) {
  const { protocol, address, port, to, holder, owner, hasRule, hits, listener, rivals } = one
  return {
    ...{ protocol, address, port, to, hasRule, hits: hits ?? null, whyUncounted: whyUncounted(one), owner },
    holder: holder ? attachmentJson(holder) : null,
    listener: listener ?? null,
    rivals: rivals.map(attachmentJson),
  }
}
