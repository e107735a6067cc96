import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type Call, type Suite, timed } from './measure.js'
import { inNamespace } from './namespace.js'
import { bridge, type Config, chained, portmap, prevResult } from './networks.js'

/** The ways to publish ports that are compared: podwire's, and the official suite's two backends. */
export const ways = ['podwire', 'iptables', 'nftables'] as const
export type Way = (typeof ways)[number]

export function publishingHosts(section: string): Record<Way, PublishingHost> {
  return {
    podwire: new PublishingHost(`${section}-podwire`, 'podwire'),
    iptables: new PublishingHost(`${section}-iptables`, 'official', 'iptables'),
    nftables: new PublishingHost(`${section}-nftables`, 'official', 'nftables'),
  }
}

/**
 * A host of its own for one way to publish ports: a network namespace with one container on a bridge and one machine
 * outside, so that neither a packet nor a plugin meets the rules of two suites.
 */
export class PublishingHost {
  readonly address = '192.0.2.1'
  readonly ports = { iperf: 5201, connections: 8080 }
  readonly #name: string
  readonly #suite: Suite
  readonly #backend: 'iptables' | 'nftables' | undefined
  readonly #attached: object
  #filled = 0

  constructor(name: string, suite: Suite, backend?: 'iptables' | 'nftables') {
    this.#name = name
    this.#suite = suite
    this.#backend = backend
    for (const one of this.#namespaces) execFileSync('ip', ['netns', 'add', one])
    batch(name, [
      `link add uplink type veth peer name eth0 netns ${name}-outside`,
      `addr add ${this.address}/24 dev uplink`,
      'link set uplink up',
      'link set lo up',
    ])
    batch(`${name}-outside`, ['addr add 192.0.2.2/24 dev eth0', 'link set eth0 up'])
    this.#attached = JSON.parse(this.call('ADD', bridge(suite, { name, ipMasq: true }), 'measured').stdout)
  }

  /** One call of one plugin on this host. */
  call(verb: Call['verb'], config: Config, containerID: string): { ms: number; stdout: string } {
    const netns = `/run/netns/${this.#name}-container`
    return inNamespace(this.#name, () => timed({ suite: this.#suite, verb, config, containerID, netns }))
  }

  /** The configuration of portmap for a container with so many ports. */
  portmap(ports: number, first: number, last: number): Config {
    return portmap(this.#suite, { ports, first, more: this.#settings(prevResult(this.#suite, last)) })
  }

  /** Publishes the ports of the container that answers, or takes them back. */
  publish(verb: 'ADD' | 'DEL'): void {
    const { iperf, connections } = this.ports
    const mapping = (protocol: string, port: number) => ({ hostPort: port, containerPort: port, protocol })
    const portMappings = [mapping('tcp', iperf), mapping('udp', iperf), mapping('tcp', connections)]
    const more = { ...this.#settings(this.#attached), runtimeConfig: { portMappings } }
    this.call(verb, chained(this.#suite, 'portmap', more), 'measured')
  }

  /**
   * Lets other containers have so many mappings, 100 each. Of iptables only the first is the plugin's: 100 ADDs would
   * take minutes.
   */
  fill(count: number): void {
    for (; this.#filled < count; this.#filled += 100) {
      if (this.#backend === 'iptables' && this.#filled > 0) break
      const config = this.portmap(100, 20_000 + this.#filled * 2, 16 + this.#filled / 100)
      this.call('ADD', config, `filler-${this.#filled}`)
    }
    if (this.#filled < count) this.#repeat(this.#filled / 100, count / 100)
    this.#filled = count
  }

  /** Does something while a server runs in the container, from when it listens. */
  async serving<T>([command, ...rest]: readonly [string, ...string[]], work: () => T): Promise<T> {
    const server = inNamespace(`${this.#name}-container`, () =>
      spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] }),
    )
    try {
      await once(server.stdout, 'data')
      return work()
    } finally {
      server.kill('SIGKILL')
      await once(server, 'close')
    }
  }

  /** The rules go with the namespaces. */
  remove(): void {
    for (const one of this.#namespaces) execFileSync('ip', ['netns', 'del', one])
  }

  /** What a program prints that runs on the machine outside; throws when it takes too long. */
  outside(command: string, ...rest: readonly string[]): string {
    const options = { encoding: 'utf8', timeout: 20_000 } as const
    return inNamespace(`${this.#name}-outside`, () => execFileSync(command, rest, options))
  }

  get #namespaces(): readonly string[] {
    return [this.#name, `${this.#name}-container`, `${this.#name}-outside`]
  }

  #settings(result: object): object {
    return { name: this.#name, ...(this.#backend && { backend: this.#backend }), prevResult: result }
  }

  /** The chain of the first of the other containers as if more had come, each with ports of its own. */
  #repeat(from: number, to: number): void {
    const onHost = (command: string, flags: readonly string[], input = '') =>
      inNamespace(this.#name, () => execFileSync(command, flags, { encoding: 'utf8', input }))
    const saved = onHost('iptables-save', ['-t', 'nat'])
    const [, chain] = / id: \\"filler-0\\".* -j (CNI-DN-\w+)/.exec(saved) ?? []
    if (chain === undefined) throw new Error(`the official portmap made no chain:\n${saved}`)
    const lines = saved.split('\n').filter((line) => line.includes(chain))
    const copies = Array.from({ length: to - from }, (_, index) => {
      const port = (seen: string) => `${Number(seen) + (from + index) * 200}`
      return lines.map((line) => line.replaceAll(chain, `CNI-DN-copy-${from + index}`).replaceAll(/\b2\d{4}\b/g, port))
    })
    onHost('iptables-restore', ['--noflush'], ['*nat', ...copies.flat(), 'COMMIT', ''].join('\n'))
  }
}

// --- internal

function batch(namespace: string, lines: readonly string[]): void {
  execFileSync('ip', ['-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` })
}
