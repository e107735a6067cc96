import { formatAddress } from '../shared/net/address.js'
import type { Host } from '../shared/plan/host.js'
import { CniError, codes } from '../shared/protocol/errors.js'
import type { Attachment } from '../shared/protocol/plugin.js'
import { commandOf, openFiles, processIDs } from './_portmap-processes.js'
import { type Port, type Publication, portText } from './_portmap-publication.js'

/**
 * Refuses ports that a process of the host listens on: publishing them would take its traffic away. A process that
 * names the container in its command line is the runtime, which reserves the port for this very container (podman's conmon).
 * @throws code 106 naming the process
 */
export function refuseListeners(host: Host, attachment: Attachment, publications: readonly Publication[]): void {
  for (const publication of publications) {
    const wanted = new Map<string, Port>()
    for (const port of publication.ports) wanted.set(`${port.protocol} ${port.host} ${port.address ?? ''}`, port)
    for (const socket of listeningSockets(host, publication)) {
      const port = wantedBy(wanted, socket)
      const holder = port && holderOf(socket.inode)
      if (port && !holder?.command.includes(attachment.containerID)) throw taken(port, socket, holder)
    }
  }
}

// --- internal

interface Socket {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly inode: string
}

interface Holder {
  readonly pid: string
  readonly command: string
}

/** The states in /proc/net: a TCP socket that listens, a UDP socket without a peer (include/net/tcp_states.h). */
const listening = { tcp: '0A', udp: '07' } as const

/** An IPv6 socket bound to "::" takes IPv4 too (whether it asked for IPv6 only is not to be seen). */
function listeningSockets(host: Host, { family, ports }: Publication): readonly Socket[] {
  const protocols = (['tcp', 'udp'] as const).filter((one) => ports.some(({ protocol }) => protocol === one))
  return protocols.flatMap((protocol) => {
    const own = family === 'ip' ? ofFamily(host, protocol, 4) : []
    return [...own, ...ofFamily(host, protocol, 6)].filter(
      ({ address }) => address === '::' || address.includes(':') === (family === 'ip6'),
    )
  })
}

function ofFamily(host: Host, protocol: 'tcp' | 'udp', family: 4 | 6): readonly Socket[] {
  const told = host.kernel?.listening({ family, protocol })
  return told?.map((one) => ({ protocol, ...one })) ?? read(host, protocol, family === 4 ? '' : '6')
}

/** Lines are "sl local rem st tx:rx tr:when retrnsmt uid timeout inode ...", addresses in hex as the machine holds them. */
function read({ files }: Host, protocol: 'tcp' | 'udp', suffix: string): readonly Socket[] {
  const found: Socket[] = []
  for (const line of textOf(files, `/proc/net/${protocol}${suffix}`).split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode = ''] = line.split(' ').filter((word) => word !== '')
    if (state !== listening[protocol]) continue
    const [address = '', port = ''] = local.split(':')
    found.push({ protocol, address: addressOf(address), port: Number.parseInt(port, 16), inode })
  }
  return found
}

/** A kernel without IPv6, or without the protocol, has no such file. */
function textOf(files: Host['files'], path: string): string {
  try {
    return files.read(path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw thrown
  }
}

/** Words of 32 bits, each in the machine's byte order (little-endian on every machine we build for). */
function addressOf(hex: string): string {
  let value = 0n
  for (let at = 0; at < hex.length; at += 8) {
    const word = Buffer.from(hex.slice(at, at + 8), 'hex').readUInt32LE()
    value = (value << 32n) | BigInt(word)
  }
  if (hex.length === 8) return formatAddress({ family: 4, value })
  const isMapped = value >> 32n === 0xffffn
  return formatAddress(isMapped ? { family: 4, value: value & 0xffffffffn } : { family: 6, value })
}

function wantedBy(wanted: ReadonlyMap<string, Port>, { protocol, address, port }: Socket): Port | undefined {
  const everywhere = wanted.get(`${protocol} ${port} `)
  if (everywhere) return everywhere
  if (address !== '0.0.0.0' && address !== '::') return wanted.get(`${protocol} ${port} ${address}`)
  for (const one of wanted.values()) if (one.protocol === protocol && one.host === port) return one
  return undefined
}

/** The process that has the socket open; undefined when it ended, or hides from us. */
function holderOf(inode: string): Holder | undefined {
  const pid = processIDs().find((one) => openFiles(one).includes(`socket:[${inode}]`))
  return pid === undefined ? undefined : { pid, command: commandOf(pid) }
}

function taken(port: Port, { address, port: number, protocol }: Socket, holder: Holder | undefined): CniError {
  const who = holder ? `process ${holder.pid} (${holder.command.slice(0, 80)})` : 'a process of the host'
  return new CniError(codes.portTaken, `cannot publish host port ${portText(port)}: ${who} listens on it`, {
    details: `it is bound to ${address.includes(':') ? `[${address}]` : address}:${number}/${protocol}`,
    fix: 'choose another host port, or a hostIP that is not its address, or stop the process',
  })
}
