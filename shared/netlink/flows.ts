import type { Flow } from '../plan/observer.js'
import { formatAddress } from '../values/address.js'
import { addressFrom, families } from './address.js'
import type { Ask } from './look.js'
import { attributesOf, flag } from './message.js'

/** The UDP flows that the kernel tracks in a family, as linux/netfilter/nfnetlink_conntrack.h has them. */
export function udpFlows(ask: Ask, family: 'ip' | 'ip6'): readonly Flow[] | undefined {
  const header = Buffer.from([families[family === 'ip' ? 4 : 6], 0, 0, 0])
  const answer = ask({ type: IPCTNL_MSG_CT_GET, flags: flag.dump, header, attributes: [] })
  return answer?.error === 0 ? answer.parts.flatMap((part) => flowOf(part, header.length)) : undefined
}

// --- internal

/** NFNL_SUBSYS_CTNETLINK in the upper byte. */
const IPCTNL_MSG_CT_GET = (1 << 8) | 1
const direction = { original: 1, reply: 2 } as const
const tuple = { addresses: 1, protocol: 2 } as const
/** Source and destination of IPv4, and of IPv6. */
const address = { source: [1, 3], destination: [2, 4] } as const
const protocol = { number: 1, sourcePort: 2, destinationPort: 3 } as const
const IPPROTO_UDP = 17

/** One way of a flow. */
interface Way {
  readonly of: (ends: readonly [number, number]) => string
  readonly protocol: ReadonlyMap<number, Buffer>
}

function flowOf(part: Buffer, headerBytes: number): readonly Flow[] {
  const attributes = attributesOf(part, headerBytes)
  const [there, back] = [direction.original, direction.reply].map((one) => wayOf(attributes.get(one)))
  if (!there || !back || there.protocol.get(protocol.number)?.[0] !== IPPROTO_UDP) return []
  return [
    {
      destination: there.of(address.destination),
      destinationPort: there.protocol.get(protocol.destinationPort)?.readUInt16BE() ?? 0,
      answerer: back.of(address.source),
      answererPort: back.protocol.get(protocol.sourcePort)?.readUInt16BE() ?? 0,
    },
  ]
}

function wayOf(bytes: Buffer | undefined): Way | undefined {
  const parts = bytes && attributesOf(bytes, 0)
  const [addresses, transport] = [parts?.get(tuple.addresses), parts?.get(tuple.protocol)]
  if (!addresses || !transport) return undefined
  const found = attributesOf(addresses, 0)
  const of = ([v4, v6]: readonly [number, number]) => {
    const one = found.get(v4) ?? found.get(v6)
    return one ? formatAddress(addressFrom(one)) : ''
  }
  return { of, protocol: attributesOf(transport, 0) }
}
