import { describe, expect, test } from 'vitest'
import type { Host } from '../../shared/plan/host.js'
import type { ListeningSocket } from '../../shared/plan/observer.js'
import { spareListeners } from './listeners.js'
import type { Port, Protocol, Publication } from './publication.js'

// Which listeners of the host are in the way of a port, and which are left alone. Nobody has a socket of these numbers.

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const port = (host: number, more: Partial<Port> = {}): Port => ({ protocol: 'tcp', host, container: 80, ...more })
const four = (...ports: Port[]): Publication => ({
  ...{ family: 'ip', address: '10.9.0.2', cidr: '10.9.0.2/24', ports, masquerade: 'hairpin', conditions: [] },
})
const six = (...ports: Port[]): Publication => ({
  ...four(...ports),
  ...{ family: 'ip6', address: 'fd00::2', cidr: 'fd00::2/64' },
})
const socket = (address: string, one: number, more: Partial<ListeningSocket> = {}) =>
  ({ address, port: one, inode: '4000000000', ...more }) as ListeningSocket

/** A host with these sockets of a protocol, each in the list of its family. */
function hostWith(sockets: readonly ListeningSocket[], protocol: Protocol = 'tcp') {
  const [asked, said]: [string[], string[]] = [[], []]
  const observer = {
    listening: (of: { family: number; protocol: Protocol }) => {
      asked.push(`${of.protocol} ${of.family}`)
      const isSix = of.family === 6
      return of.protocol === protocol ? sockets.filter(({ address }) => address.includes(':') === isSix) : []
    },
    localAddresses: (family: number) => new Set(family === 4 ? ['192.0.2.1'] : ['2001:db8::1']),
    clientPorts: () => [32768, 60999],
  }
  return { host: { observer, warn: (text: string) => said.push(text) } as unknown as Host, asked, said }
}

function sparedBy(
  sockets: readonly ListeningSocket[],
  publication: Publication,
  protocol: Protocol = 'tcp',
  backend: 'nftables' | 'iptables' = 'nftables',
) {
  const { host, said } = hostWith(sockets, protocol)
  const [one] = spareListeners(host, attachment, { backend, publications: [publication] })
  return { said, spared: one?.spared?.map(({ address, host: number }) => `${address} ${number}`) ?? [] }
}

test('only the protocols of the ports are asked for, of IPv4 in both families', () => {
  const asked = (publication: Publication) => {
    const { host, asked } = hostWith([])
    spareListeners(host, attachment, { backend: 'nftables', publications: [publication] })
    return asked
  }
  expect(asked(four(port(80)))).toEqual(['tcp 4', 'tcp 6'])
  expect(asked(four(port(80), port(53, { protocol: 'udp' })))).toEqual(['tcp 4', 'tcp 6', 'udp 4', 'udp 6'])
  expect(asked(four(port(80, { protocol: 'sctp' })))).toEqual(['sctp 6'])
  expect(asked(six(port(80)))).toEqual(['tcp 6'])
})

describe('a listener', () => {
  test.each<[string, ListeningSocket, Publication]>([
    ['of every address', socket('0.0.0.0', 8080), four(port(8080))],
    ['of both families', socket('::', 8080), four(port(8080))],
    ['of an address of the host', socket('192.0.2.1', 8080), four(port(8080))],
    ['of the very address', socket('127.0.0.1', 8080), four(port(8080, { address: '127.0.0.1' }))],
    ['of every address, for one', socket('0.0.0.0', 8080), four(port(8080, { address: '192.0.2.1' }))],
    ['of IPv6', socket('2001:db8::1', 8080), six(port(8080))],
  ])('is in the way: %s', (_, one, publication) => {
    expect(() => sparedBy([one], publication)).toThrow('8080/tcp: a process of the host listens on it')
  })

  test.each<[string, ListeningSocket, Publication, string[]]>([
    ['of the loopback', socket('127.0.0.1', 8080), four(port(8080)), ['127.0.0.1 8080']],
    ['of an address that is not there', socket('192.0.2.9', 8080), four(port(8080)), ['192.0.2.9 8080']],
    ['of another port', socket('0.0.0.0', 8081), four(port(8080)), []],
    ['of another address', socket('192.0.2.1', 8080), four(port(8080, { address: '192.0.2.2' })), []],
    ['of IPv6 alone', socket('::', 8080, { isIPv6Only: true }), four(port(8080)), []],
    ['of the other family', socket('2001:db8::1', 8080), four(port(8080)), []],
    ['of IPv4', socket('0.0.0.0', 8080), six(port(8080)), []],
    ['of ::1, whose packets never come to the rules', socket('::1', 8080), six(port(8080)), []],
    [
      'whose address a condition excludes',
      socket('192.0.2.1', 8080),
      { ...four(port(8080)), conditions: ['ip', 'daddr', '!=', '192.0.2.1'] },
      [],
    ],
  ])('is left alone: %s', (_, one, publication, spared) => {
    expect(sparedBy([one], publication)).toEqual({ said: [], spared })
  })

  test('of ::1 is spared where packets come there', () => {
    expect(sparedBy([socket('::1', 8080)], six(port(8080)), 'tcp', 'iptables').spared).toEqual(['::1 8080'])
  })

  test.each([
    [32_767, false],
    [32_768, true],
    [60_999, true],
    [61_000, false],
  ])('of UDP on port %d is told of where that is for clients: %s', (number, isTold) => {
    const one = [socket('0.0.0.0', number)]
    const of = () => sparedBy(one, four(port(number, { protocol: 'udp' })), 'udp')
    if (isTold) expect(of()).toMatchObject({ spared: [], said: [expect.stringContaining('if it is a server')] })
    else expect(of).toThrow(`${number}/udp: a process of the host listens on it`)
  })

  test('of TCP on a port for clients is in the way', () => {
    expect(() => sparedBy([socket('0.0.0.0', 40_000)], four(port(40_000)))).toThrow('listens on it')
  })
})
