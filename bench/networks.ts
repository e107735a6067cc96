import type { Call, Suite } from './measure.js'

/** The two suites work side by side on networks, bridges and ranges of their own. */
const second: Record<Suite, number> = { podwire: 60, official: 61 }

export type Config = Call['config']

export function hostLocal(suite: Suite, more: object = {}): Config {
  const ipam = { type: 'host-local', dataDir: `/run/bench/${suite}`, subnet: `10.${second[suite]}.0.0/16`, ...more }
  return { cniVersion: '1.0.0', name: `bench-${suite}`, type: 'host-local', ipam }
}

export function bridge(suite: Suite, more: object = {}): Config {
  const { ipam } = hostLocal(suite) as unknown as { ipam: object }
  return {
    cniVersion: '1.0.0',
    name: `bench-${suite}`,
    type: 'bridge',
    bridge: `bench-${suite}`,
    isGateway: true,
    ipam: { ...ipam, routes: [{ dst: '0.0.0.0/0' }] },
    ...more,
  }
}

/** A published port; `first` keeps the ports of attachments apart. */
export function portmap(
  suite: Suite,
  { ports, first, more = {} }: { ports: number; first: number; more?: object },
): Config {
  const portMappings = Array.from({ length: ports }, (_, index) => ({
    hostPort: first + index * 2,
    containerPort: 80 + index,
    protocol: 'tcp',
  }))
  return { cniVersion: '1.0.0', name: `bench-${suite}`, type: 'portmap', runtimeConfig: { portMappings }, ...more }
}

export function chained(suite: Suite, type: string, more: object = {}): Config {
  return { cniVersion: '1.0.0', name: `bench-${suite}`, type, ...more }
}

/** A prevResult with one address, for measuring a chained plugin alone. */
export function prevResult(suite: Suite, last: number): object {
  const address = `10.${second[suite]}.${200 + (last >> 8)}.${last & 255}`
  return {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'eth0', sandbox: '/run/netns/bench' }],
    ips: [{ address: `${address}/16`, interface: 0 }],
  }
}
