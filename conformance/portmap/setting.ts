import { Chain, type Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import type { Call, Verb } from '../harness/plugin.js'

export interface Mapping {
  hostPort: number
  containerPort: number
  protocol: string
  hostIP?: string
}

export interface Publishing {
  network?: string
  /** Settings of portmap. */
  portmap?: object
  suite?: Suite
  ifName?: string
  containerID?: string
}

export const addresses = { 4: '192.0.2.1', 6: '2001:db8:f::1' } as const

/** Every network has a bridge and subnets of its own. */
export function publishingNetwork({ network = 'network', portmap = {} }: Publishing = {}): Conflist {
  const number = network === 'network' ? 2 : 3
  const ranges = [[{ subnet: `10.1.${number}.0/24` }], [{ subnet: `fd00:1:${number}::/64` }]]
  return {
    cniVersion: '1.1.0',
    name: network,
    plugins: [
      {
        type: 'bridge',
        bridge: `br${number}`,
        isDefaultGateway: true,
        hairpinMode: true,
        ipMasq: true,
        ipMasqBackend: 'nftables',
        ipam: { type: 'host-local', ranges },
      },
      { type: 'portmap', capabilities: { portMappings: true }, ...portmap },
    ],
  }
}

/** The attachment of a container whose ports are published; not yet added. */
export function publishing(host: Host, container: Container, portMappings: Mapping[], more: Publishing = {}): Chain {
  return new Chain(host, publishingNetwork(more), {
    containerID: more.containerID ?? container.name,
    netns: container.netns,
    capabilityArgs: { portMappings },
    ...(more.suite && { suite: more.suite }),
    ...(more.ifName && { ifName: more.ifName }),
  })
}

/** Attaches a container and publishes its ports. */
export async function publish(host: Host, container: Container, mappings: Mapping[], more: Publishing = {}) {
  const chain = publishing(host, container, mappings, more)
  await chain.add()
  return chain
}

export const tcp = (hostPort: number, containerPort = 80, hostIP?: string): Mapping => ({
  hostPort,
  containerPort,
  protocol: 'tcp',
  ...(hostIP && { hostIP }),
})

export const udp = (hostPort: number, containerPort = 53): Mapping => ({ hostPort, containerPort, protocol: 'udp' })

/** How many elements the maps of both families hold in all. */
export async function elementCount(host: Host): Promise<number> {
  const ruleset = JSON.parse(await host.output(['nft', '-j', 'list', 'ruleset'])) as {
    nftables: { map?: { name: string; elem?: unknown[] }; set?: { name: string; elem?: unknown[] } }[]
  }
  const mine = ruleset.nftables.map((one) => one.map ?? one.set).filter((one) => one?.name.startsWith('portmap_'))
  return mine.reduce((sum, one) => sum + (one?.elem?.length ?? 0), 0)
}

/** portmap by itself: the address is only told, so that many attachments cost nothing but their own work. */
export function call(
  command: Verb,
  container: Container,
  mappings: Mapping[],
  more: { number?: number; portmap?: object } = {},
): Call {
  const { number = 2, portmap = {} } = more
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', sandbox: container.netns }],
    ips: [{ address: `10.1.2.${number}/24`, interface: 0 }],
  }
  const config = {
    cniVersion: '1.1.0',
    name: 'network',
    type: 'portmap',
    ...portmap,
    runtimeConfig: { portMappings: mappings },
    prevResult,
  }
  return { plugin: 'portmap', command, config, containerID: `id${number}`, netns: container.netns }
}
