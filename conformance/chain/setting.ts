import type { Conflist, PluginConfig } from '../harness/chain.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import type { Call, Verb } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'

/** A list whose plugins are one chain, with the capabilities of its members. */
export function asChain({ cniVersion, name, plugins }: Conflist, more: object = {}): Conflist {
  const capabilities = Object.assign({}, ...plugins.map((one) => one.capabilities ?? {})) as Record<string, boolean>
  return { cniVersion, name, plugins: [{ type: 'chain', plugins, capabilities, ...more }] }
}

/** What a container mostly gets: a bridge, published ports, a firewall, settings. */
export function fourMembers(...more: PluginConfig[]): Conflist {
  const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
  return {
    cniVersion: '1.1.0',
    name: 'network',
    plugins: [
      {
        type: 'bridge',
        bridge: 'br2',
        isDefaultGateway: true,
        hairpinMode: true,
        ipMasq: true,
        ipMasqBackend: 'nftables',
        ipam: { type: 'host-local', ranges },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'firewall', backend: 'nftables' },
      { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } },
      ...more,
    ],
  }
}

export const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]

/** What the runtime gives `fourMembers`. */
export const given = { runtimeConfig: { portMappings } }

/** What calls leave, without where the next search for an address begins. */
export const look = async (host: Host) => {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire'] })
  return lines.filter((line) => !line.includes('last_reserved_ip'))
}

/** Of that what is the attachment's. */
export const ofAttachment = async (host: Host) =>
  (await look(host)).filter((line) => /c1|veth|8080|networks\/network\/10/.test(line))

/** A call of the chain that is the list's only plugin. */
export function call(
  list: Conflist,
  command: Verb,
  netns: string,
  more: Partial<Call> & { given?: object } = {},
): Call {
  const { given, ...rest } = more
  const [chain] = list.plugins as [PluginConfig]
  const config = { cniVersion: list.cniVersion, name: list.name, ...chain, ...given }
  return { plugin: 'chain', command, config, netns, containerID: 'c1', ...rest }
}

/** CNI_PATH with a folder of the host before ours, where plugins of other files are: scripts, or links to programs. */
export async function withOthers(host: Host, others: Readonly<Record<string, string>>): Promise<string> {
  await host.output(['mkdir', '-p', '/run/others'])
  for (const [name, target] of Object.entries(others)) {
    if (target.startsWith('/')) await host.output(['ln', '-s', target, `/run/others/${name}`])
    else await host.output(['sh', '-c', `cat >/run/others/${name}; chmod +x /run/others/${name}`], { stdin: target })
  }
  return `/run/others:${suites.podwire}`
}

/** A plugin of somebody else: notes each call in /run/calls, and does what `body` says, by the verb in $CNI_COMMAND. */
export const noting = (body = '') => `#!/bin/sh
input=$(cat)
printf '%s %s\\n' "$CNI_COMMAND" "$input" >>/run/calls
${body}
case $CNI_COMMAND in
  VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
  ADD) echo '{"cniVersion":"1.1.0","interfaces":[{"name":"other"}],"dns":{}}' ;;
esac
`

export const calls = async (host: Host): Promise<[string, Record<string, unknown>][]> =>
  (await host.output(['cat', '/run/calls']))
    .trim()
    .split('\n')
    .map((line) => [line.slice(0, line.indexOf(' ')), JSON.parse(line.slice(line.indexOf(' ')))])

export const failingAt = (verb: string) =>
  noting(`[ "$CNI_COMMAND" != ${verb} ] || { echo '{"code":150,"msg":"out of order","details":"why"}'; exit 1; }`)
