import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import type { Call, Verb } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'

/** A link as another IPAM plugin found it: what `ip -j -d link` says of it. */
export interface Found {
  ifname: string
  flags: string[]
  operstate: string
  inet6_addr_gen_mode?: string
}

const seen = '/run/seen'

/**
 * Installs an IPAM plugin that writes down the container's links at each ADD, and answers with an address, or else
 * fails.
 */
export function installRecorder(host: Host, address: string | undefined, name = 'recorder'): void {
  const answer =
    address === undefined
      ? `echo '{"cniVersion":"1.1.0","code":42,"msg":"no address today"}'; exit 1`
      : `echo '{"cniVersion":"1.1.0","ips":[{"address":"${address}/24","gateway":"10.80.0.1"}]}'`
  const record = `nsenter --net="$CNI_NETNS" ip -j -d link > ${seen}`
  installScripts(host, { [name]: `[ "$CNI_COMMAND" = ADD ] || exit 0\n${record}\n${answer}` })
}

/** The container's links as the recorder found them, without the loopback. */
export function found(host: Host): Found[] {
  const links = JSON.parse(readFileSync(host.path(seen), 'utf8')) as Found[]
  return links.filter(({ ifname }) => ifname !== 'lo')
}

/** One call with an IPAM plugin that is not of the suite. */
export function foreignCall(command: Verb, container: Container, config: object, more: Partial<Call> = {}): Call {
  const { type } = config as { type: string }
  return {
    ...{ plugin: type, command, containerID: container.name, netns: container.netns },
    config: { cniVersion: '1.1.0', name: 'network', ipam: { type: 'recorder' }, ...config },
    path: `${scriptDirectory}:${suites.podwire}`,
    ...more,
  }
}

/** What `place` hears of DHCP: a server of busybox on its link, and the lines that it wrote so far. */
export async function serveDhcp(place: Container, link: string): Promise<() => string> {
  const lines = [
    ...['start 10.80.0.100', 'end 10.80.0.110', `interface ${link}`, 'pidfile /run/udhcpd.pid'],
    ...['lease_file /run/udhcpd.leases', 'option subnet 255.255.255.0', 'option router 10.80.0.1'],
  ]
  const write = `cat > /run/udhcpd.conf && : > /run/udhcpd.leases && exec busybox udhcpd -f /run/udhcpd.conf`
  const server = place.start(['sh', '-c', write], { stdin: `${lines.join('\n')}\n`, deadline: 600_000 })
  let heard = ''
  server.child.stderr?.on('data', (text) => {
    heard += String(text)
  })
  await until('the DHCP server listens', () => heard.includes('started'))
  return () => heard
}

/** Starts the daemon of the official dhcp plugin; what it said so far. */
export async function startDhcpDaemon(host: Host): Promise<() => string> {
  await host.output(['mkdir', '-p', '/run/cni'])
  const daemon = host.start([join(suites.official, 'dhcp'), 'daemon'], { deadline: 600_000 })
  let said = ''
  daemon.child.stderr?.on('data', (text) => {
    said += String(text)
  })
  await until('the daemon of dhcp listens', () => existsSync(host.path('/run/cni/dhcp.sock')))
  return () => said
}
