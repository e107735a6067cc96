import type { Host } from '../../shared/plan/host.js'
import type { ListeningSocket } from '../../shared/plan/observer.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes } from '../../shared/values/errors.js'
import { backends } from './backends.js'
import { excludes } from './conditions.js'
import type { Backend } from './portmap.schema.js'
import { type Port, type Protocol, type Publication, portText } from './publication.js'
import { type Holder, holdings } from './reservations.js'

/**
 * Publications beside the listeners of the host. One whose traffic the rules would take is refused, unless the runtime
 * only keeps the port for this very container; one on the loopback, or on an address that is not the host's (yet), is
 * spared: the publication leaves that address alone. A UDP socket on a port that the kernel gives to clients may be
 * either, and is told of.
 * @returns the publications with what they spare
 * @throws code 106 naming the process
 */
export function spareListeners(
  host: Host,
  attachment: Attachment,
  { backend, publications }: { backend: Backend; publications: readonly Publication[] },
): readonly Publication[] {
  const contests = publications.map((publication) => contestsOf(host, backend, publication))
  const inodes = new Set(contests.flat().map(({ socket }) => socket.inode))
  if (inodes.size === 0) return publications
  const held = holdings(attachment, inodes)
  return publications.map((publication, index) => {
    const others = (contests[index] ?? []).filter(({ socket }) => held.get(socket.inode)?.isReservation !== true)
    const spared = new Map<string, Port>()
    for (const { socket, port } of others) {
      const { protocol, address } = socket
      const one = { protocol, host: port.host, container: 0, address }
      const holder = held.get(socket.inode)?.holder
      if (isSpared(host, publication, { socket, port })) spared.set(portText(one), one)
      else if (isOfClients(host, socket)) host.warn(`portmap: ${told(port, socket, holder)}; ${clientsToo}`)
      else throw taken(port, socket, holder)
    }
    return spared.size === 0 ? publication : { ...publication, spared: [...spared.values()] }
  })
}

// --- internal

/** A socket whose traffic a port's rule would take. */
interface Contest {
  readonly socket: Socket
  readonly port: Port
}

function contestsOf(host: Host, backend: Backend, publication: Publication): readonly Contest[] {
  const byNumber = Map.groupBy(publication.ports, ({ protocol, host }) => `${protocol} ${host}`)
  return listeningSockets(host, publication).flatMap((socket) => {
    const ports = byNumber.get(`${socket.protocol} ${socket.port}`) ?? []
    const everywhere = ports.find(({ address }) => address === undefined)
    const port = isForAll(socket)
      ? (everywhere ?? ports.find(({ address = '' }) => isTaken(backend, publication, address)))
      : isTaken(backend, publication, socket.address)
        ? (ports.find(({ address }) => address === socket.address) ?? everywhere)
        : undefined
    return port ? [{ socket, port }] : []
  })
}

function isForAll({ address }: Socket): boolean {
  return address === '0.0.0.0' || address === '::'
}

/** Whether the rules for an address match it: not where a condition excludes it, nor ::1 where it never comes there. */
function isTaken(backend: Backend, { conditions }: Publication, address: string): boolean {
  if (address === '::1' && !backends[backend].takesLoopback6) return false
  return !excludes(conditions, address)
}

/** Nobody asked for that very address, and nobody else's packets go there. */
function isSpared(host: Host, { family }: Publication, { socket, port }: Contest): boolean {
  if (isForAll(socket) || port.address !== undefined) return false
  return isLoopback(socket.address) || !host.observer.localAddresses(family === 'ip' ? 4 : 6).has(socket.address)
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

function isOfClients({ observer }: Host, { protocol, port }: Socket): boolean {
  if (protocol !== 'udp') return false
  const [first, last] = observer.clientPorts()
  return port >= first && port <= last
}

const clientsToo =
  'if it is a server, it gets nothing any more; a client, as the port suggests, keeps what it asked for'

interface Socket extends ListeningSocket {
  readonly protocol: Protocol
}

/** An IPv6 socket bound to "::" takes IPv4, too, unless it asked for IPv6 only (which /proc does not tell). */
function listeningSockets({ observer }: Host, { family, ports }: Publication): readonly Socket[] {
  const protocols = (['tcp', 'udp', 'sctp'] as const).filter((one) => ports.some(({ protocol }) => protocol === one))
  const families = (protocol: Protocol) => (protocol !== 'sctp' && family === 'ip' ? ([4, 6] as const) : ([6] as const))
  return protocols
    .flatMap((protocol) =>
      families(protocol).flatMap((one) =>
        observer.listening({ family: one, protocol }).map((socket) => ({ protocol, ...socket })),
      ),
    )
    .filter(
      ({ address, isIPv6Only }) => (address === '::' && !isIPv6Only) || address.includes(':') === (family === 'ip6'),
    )
}

function told({ host, protocol }: Port, { address }: Socket, holder: Holder | undefined): string {
  return `${nameOfHolder(holder)} is bound to ${portText({ protocol, host, container: 0, address })}`
}

function nameOfHolder(holder: Holder | undefined): string {
  return holder ? `process ${holder.pid} (${holder.command.slice(0, 80)})` : 'a process of the host'
}

function taken(port: Port, socket: Socket, holder: Holder | undefined): CniError {
  const elsewhere = isForAll(socket)
    ? 'let the process listen on one address and give another one as hostIP'
    : `give a hostIP that is not ${socket.address}, or conditions that exclude it`
  return new CniError(
    codes.portTaken,
    `cannot publish host port ${portText(port)}: ${nameOfHolder(holder)} listens on it`,
    {
      details: `it is bound to ${portText({ ...port, address: socket.address })}`,
      fix: `choose another host port, or ${elsewhere}, or stop the process`,
    },
  )
}
