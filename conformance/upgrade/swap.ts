import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Chain, ChainError, type Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import type { AnySuite } from '../harness/locations.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { addressOf } from '../main/networks.js'

/** The suites that a node is upgraded from and to, the oldest first. */
export const suitesInUse = ['official-1.6.2', 'official-1.9.1', 'official', 'podwire'] as const satisfies AnySuite[]

/** Which words of backends a network has, and what its firewall keeps apart; "isolated" is younger than 1.6. */
export const kinds = {
  'backends of its own choice': { policy: undefined, bridge: {}, portmap: {}, firewall: {} },
  'iptables everywhere': {
    policy: 'same-bridge',
    bridge: { ipMasqBackend: 'iptables' },
    portmap: { backend: 'iptables' },
    firewall: { backend: 'iptables' },
  },
  'nftables where both suites have it': {
    policy: 'isolated',
    bridge: { ipMasqBackend: 'nftables' },
    portmap: { backend: 'nftables' },
    firewall: {},
  },
} as const

export type Kind = keyof typeof kinds

/** What a network of a kind keeps apart where these suites meet. */
export function policyOf(kind: Kind, suites: readonly AnySuite[]): string | undefined {
  const { policy } = kinds[kind]
  return policy === 'isolated' && suites.includes('official-1.6.2') ? 'same-bridge' : policy
}

export function networkOf(kind: Kind, suites: readonly AnySuite[], ipam: object = {}): Conflist {
  const { bridge, portmap, firewall } = kinds[kind]
  const policy = policyOf(kind, suites)
  const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
  const ipamOf = { type: 'host-local', ranges, ...ipam }
  const link = { type: 'bridge', bridge: 'br2', isDefaultGateway: true, hairpinMode: true, ipMasq: true }
  return {
    cniVersion: '1.0.0',
    name: 'network',
    plugins: [
      { ...link, ...bridge, ipam: ipamOf },
      { type: 'portmap', capabilities: { portMappings: true }, ...portmap },
      { type: 'firewall', ...firewall, ...(policy ? { ingressPolicy: policy } : {}) },
    ],
  }
}

/** A container that serves a port, and the attachment that one suite made and others go on with. */
export class Member {
  readonly container: Container
  /** Of the first of its ports; one without publishes nothing. */
  readonly hostPort: number | undefined
  readonly #host: Host
  readonly #network: Conflist
  #result: Chain['result']

  constructor(host: Host, network: Conflist, container: Container, hostPort?: number) {
    this.#host = host
    this.#network = network
    this.container = container
    this.hostPort = hostPort
  }

  get v4(): string {
    return addressOf(this.#result ?? {}, 4)
  }

  async add(suite: AnySuite): Promise<void> {
    const chain = this.#by(suite)
    this.#result = await chain.add()
    await serve(this.container, { protocol: 'tcp', port: 80, name: this.container.name })
  }

  /** The plugin that refused, or undefined where all agree. */
  async check(suite: AnySuite): Promise<string | undefined> {
    try {
      await this.#by(suite).check()
      return undefined
    } catch (error) {
      if (error instanceof ChainError) return `${error.plugin}: ${error.finished.stdout}${error.finished.stderr}`
      throw error
    }
  }

  del(suite: AnySuite): Promise<void> {
    return this.#by(suite).del()
  }

  #by(suite: AnySuite): Chain {
    const { name: containerID, netns } = this.container
    const { hostPort } = this
    const udp = { containerPort: 53, protocol: 'udp' }
    // In iptables each suite finds the other's rules word for word, but for addresses of the host: see differences.ts.
    const isPlain = this.#network.plugins.some(({ backend }) => backend === 'iptables')
    const at = (hostIP: string) => (isPlain ? {} : { hostIP })
    const portMappings =
      hostPort === undefined
        ? []
        : [
            { hostPort, containerPort: 80, protocol: 'tcp' },
            { hostPort: hostPort + 1, ...udp, ...at('192.0.2.1') },
            { hostPort: hostPort + 2, ...udp, ...at('2001:db8:f::1') },
          ]
    const chain = new Chain(this.#host, this.#network, {
      suite,
      containerID,
      netns,
      capabilityArgs: { portMappings },
    })
    chain.result = this.#result
    return chain
  }
}

/**
 * What passes: who answers on the published port from outside, by either family, and what an outside server sees of the
 * container. Whose port shall not answer is asked for a shorter time.
 */
export async function packets(outside: Container, { container, hostPort = 0 }: Member, isPublished = true) {
  const deadline = isPublished ? {} : { deadline: 4_000 }
  const published = (address: string) =>
    ask(outside, { protocol: 'tcp', address, port: hostPort, ...deadline }).then((answer) => answer?.server)
  const seen = (address: string) =>
    ask(container, { protocol: 'tcp', address, port: 7000 }).then((answer) => answer?.source)
  const [four, six, from4, from6] = [
    await published('192.0.2.1'),
    await published('2001:db8:f::1'),
    await seen('192.0.2.2'),
    await seen('2001:db8:f::2'),
  ]
  return { published: [four, six], seen: [from4, from6] }
}

/** What has to pass as long as a container is attached. */
export function allOf({ container }: Member) {
  return { published: [container.name, container.name], seen: ['192.0.2.1', '2001:db8:f::1'] }
}

/** A host whose policy drops what is forwarded, but to published ports, with a server outside. */
export async function prepare(host: Host): Promise<Container> {
  const { container } = await host.outside()
  for (const tool of ['iptables', 'ip6tables']) {
    await host.output([tool, '-P', 'FORWARD', 'DROP'])
    await host.output([tool, '-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'DNAT', '-j', 'ACCEPT'])
    await host.output([tool, '-A', 'FORWARD', '-i', 'br2', '-o', 'br2', '-j', 'ACCEPT'])
  }
  await serve(container, { protocol: 'tcp', port: 7000, name: 'outside' })
  return container
}

/** Whether one reaches the other, which is asked for a shorter time where it shall not. */
export function reaches(one: Member, other: Member, shall: boolean): Promise<boolean> {
  return ping(one.container, other.v4, shall ? undefined : 2)
}

/**
 * Everything of containers that is left: rules that name one, its address, its port or its bridge, links, leases,
 * records.
 */
export async function leftovers(host: Host): Promise<string[]> {
  const rules = await Promise.all(
    [['iptables-save'], ['ip6tables-save'], ['nft', '-s', 'list', 'ruleset']].map((argv) => host.output(argv)),
  )
  const links = JSON.parse(await host.output(['ip', '-j', 'link'])) as { ifname: string }[]
  const mentions =
    /10\.1\.2\.\d|fd00:1:2::[2-9a-f]|member|CNI-(DN-|SN-)?[0-9a-f]{20,}|[89]\d\d\d\b|ISOLATION.*br2|"br2"/
  return [
    ...rules.flatMap((text) => text.split('\n').filter((line) => mentions.test(line) && !isShared(line))),
    ...links.map(({ ifname }) => ifname).filter((name) => name.startsWith('veth')),
    ...filesIn(host, '/var/lib/cni/networks/network').filter((name) => /^(10|fd00)/.test(name)),
    ...records(host),
  ].map((line) => line.trim())
}

/** Whether a line is of a bridge's ingress policy in iptables, which the official plugin never removes. */
export function isOfPolicy(line: string): boolean {
  return /ISOLATION|name (!= )?"br2"/.test(line)
}

/** The records of attachments. */
export function records(host: Host): string[] {
  return filesIn(host, '/run/podwire')
    .filter((name) => name.includes('/network/') || name.includes('-holders/'))
    .filter((name) => !name.endsWith('lock'))
}

// --- internal

/**
 * What a network's attachments share stays, as in either suite: a subnet's chain, and the host's own rule of `prepare`.
 */
function isShared(line: string): boolean {
  const names = [
    /chain (masquerade|portmap_hairpin)_/,
    /[ds]addr (10\.1\.2\.0|fd00:1:2::)\//,
    /-i br2 -o br2 -j ACCEPT/,
    /iifname "br2" oifname "br2" +counter.* accept/,
  ]
  return names.some((name) => name.test(line)) && !line.includes('member')
}

function filesIn(host: Host, directory: string): string[] {
  try {
    const found = readdirSync(host.path(directory), { recursive: true, withFileTypes: true })
    const root = host.path(directory)
    return found
      .filter((one) => !one.isDirectory())
      .map((one) => join(one.parentPath, one.name).slice(root.length - directory.length))
      .map((path) => (directory.startsWith('/run') ? path : path.slice(directory.length + 1)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
