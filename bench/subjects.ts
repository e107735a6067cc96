import { execFileSync } from 'node:child_process'
import { timed } from './measure.js'
import { bridge, type Config, chained, hostLocal, portmap, prevResult } from './networks.js'

/** A call that is profiled. */
export interface Subject {
  readonly what: string
  readonly config: Config
  readonly netns: string
}

/**
 * Every plugin, in a setting where it has work to do: links to build on, and an attachment for those that are chained.
 */
export function profileSubjects(): readonly Subject[] {
  for (const name of ['bench', 'attached']) execFileSync('ip', ['netns', 'add', name])
  execFileSync('ip', ['-batch', '-'], { input: links.join('\n') })
  const subject = (what: string, config: Config, netns = '/run/netns/bench'): Subject => ({ what, config, netns })
  const attached = attach()
  const onAttached = (what: string, config: Config) =>
    subject(what, { ...config, prevResult: attached }, '/run/netns/attached')
  const told = prevResult('podwire', 9)
  return [
    subject('loopback', chained('podwire', 'loopback')),
    subject('bridge', bridge('podwire')),
    subject('bridge, ipMasq', bridge('podwire', { ipMasq: true })),
    subject('ptp, ipMasq', main('ptp', { ipMasq: true })),
    subject('macvlan', main('macvlan', { master: 'lan0' })),
    subject('ipvlan', main('ipvlan', { master: 'lan0' })),
    subject('vlan', main('vlan', { master: 'lan0', vlanId: 5 })),
    subject('host-device', main('host-device', { device: 'spare0' })),
    subject('dummy', main('dummy')),
    subject('tap', main('tap')),
    subject('host-local', hostLocal('podwire')),
    subject('static', ipam('static', { addresses: [{ address: '10.60.0.9/16' }] })),
    subject('portmap, 2 ports', portmap('podwire', { ports: 2, first: 20_000, more: { prevResult: told } })),
    subject('portmap, 100 ports', portmap('podwire', { ports: 100, first: 20_000, more: { prevResult: told } })),
    subject('firewall', chained('podwire', 'firewall', { prevResult: told })),
    subject('tuning without work', chained('podwire', 'tuning', { prevResult: told })),
    onAttached(
      'tuning, a sysctl and an mtu',
      chained('podwire', 'tuning', { sysctl: { 'net.ipv4.conf.eth0.rp_filter': '2' }, mtu: 1400 }),
    ),
    onAttached('bandwidth, both directions', chained('podwire', 'bandwidth', rates)),
    onAttached('sbr', chained('podwire', 'sbr')),
    onAttached('vrf', chained('podwire', 'vrf', { vrfname: 'blue' })),
  ]
}

// --- internal

const links = [
  'link add lan0 type veth peer name lan1',
  'link set lan0 up',
  'link set lan1 up',
  'link add spare0 type veth peer name spare1',
  '',
]

const rates = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 8e6, egressBurst: 8e6 }

function main(type: string, more: object = {}): Config {
  const { ipam } = hostLocal('podwire') as unknown as { ipam: object }
  return chained('podwire', type, { ipam, ...more })
}

function ipam(type: string, settings: object): Config {
  return chained('podwire', type, { ipam: { type, ...settings } })
}

/** What the bridge plugin answers for an attachment that stays. */
function attach(): object {
  const call = { suite: 'podwire', verb: 'ADD', containerID: 'attached', netns: '/run/netns/attached' } as const
  return JSON.parse(timed({ ...call, config: bridge('podwire') }).stdout)
}
