import { interfaceDifferences, throwDifferences } from '../shared/net/interface.js'
import { type At, deleteLink, ip, setLink } from '../shared/net/ip.js'
import { requireForAdd } from '../shared/net/needs.js'
import { requireNetns } from '../shared/net/netns.js'
import { features } from '../shared/net/probe.js'
import type { Operation } from '../shared/plan/operation.js'
import { checkLease, collectLeases, hasIpam, ipamNeeds, lease, requireIpam } from '../shared/program/ipam.js'
import { type Call, definePlugin } from '../shared/program/plugin.js'
import { checks, macOf, unicastMac } from '../shared/values/checks.js'
import { CniError, codes, type Problem } from '../shared/values/errors.js'
import { attachmentHash, macFrom } from '../shared/values/names.js'
import { macFault } from '../shared/values/official.js'
import { emptyResult, refuseInexpressible } from '../shared/values/result.js'
import { detachChild } from './lan/child-link.js'
import { configureLan } from './lan/interface.js'
import type { TapConfiguration } from './tap.schema.js'

type TapCall = Call<TapConfiguration>

/** A device whose packets a program in the container reads and writes: the network card of a virtual machine. */
export default definePlugin<TapConfiguration>({
  name: 'tap',
  delegates: true,
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf', runtimeConfig: '' },
    types: {
      args: 'struct {}',
      owner: 'uint32',
      group: 'uint32',
      runtimeConfig: 'struct { Mac string "json:\\"mac,omitempty\\"" }',
    },
    says: sayMac,
  }),

  argsKeys: ['MAC'],
  prevResult: { CHECK: 'required' },

  refuse({ config, args }) {
    const { selinuxContext = '' } = config
    const mac = args.get('MAC') ?? ''
    const problems: Problem[] = []
    if (mac !== '' && unicastMac(mac) === undefined) {
      const { expected } = checks.macOrEmpty
      problems.push({ path: fromArgs, value: mac, expected, official: sayMac({ path: fromArgs, value: mac }) })
    }
    if (!isContext(selinuxContext)) {
      const expected = 'an SELinux context such as "system_u:system_r:container_t:s0"'
      problems.push({ path: 'selinuxContext', value: selinuxContext, expected })
    }
    return problems
  },

  add(call) {
    const { config, host, environment, version } = call
    const { ifName } = environment
    refuseInexpressible(version, hasIpam(call))
    const isForeign = requireIpam(call)
    const netns = requireNetns(environment.netns)
    const at = { link: ifName, netns }
    requireBridge(call, netns)
    const mac = chooseMac(call)
    host.apply([create(at, config), setUpAs(at, mac, config)])
    // Up is all it can be for another IPAM plugin: a carrier comes with the program that attaches.
    if (isForeign) host.apply(configureLan({ ...config, ifName, netns }, emptyResult))
    const { ips, routes } = hasIpam(call) ? lease(call) : emptyResult
    // Nobody can be asked before a program attaches: the kernel announces the addresses when one does.
    const announced = { [`net/ipv4/conf/${ifName}/arp_notify`]: '1', [`net/ipv6/conf/${ifName}/ndisc_notify`]: '1' }
    host.apply(configureLan({ ...config, ifName, netns }, { ips, routes }, ips.length > 0 ? announced : {}))
    return {
      interfaces: [{ name: ifName, mac, sandbox: netns }],
      ips: ips.map((one) => ({ ...one, interface: 0 })),
      routes,
      dns: config.dns ?? {},
    }
  },

  check(call) {
    checkLease(call)
    throwDifferences(differences(call))
  },

  del(call) {
    detachChild(call)
  },

  status(call) {
    const { config, host } = call
    requireForAdd(
      host,
      { features: [features.tap], programs: ['nsenter', 'ip'] },
      config.selinuxContext ? { programs: ['runcon'] } : {},
      ipamNeeds(call),
    )
  },

  gc(call) {
    collectLeases(call)
  },
})

// --- internal

const fromArgs = 'CNI_ARGS MAC'

function sayMac({ path, value }: Pick<Problem, 'path' | 'value'>): string | undefined {
  if (!path.toLowerCase().endsWith('mac')) return undefined
  const fault = macFault(value)
  return fault.endsWith('invalid MAC address') ? `failed to run command "${value}" is invalid lladdr.` : fault
}

/**
 * The device, under its final name at once: the kernel refuses one that is there. Without the header of tun; with that
 * of virtio where the official plugin has it. Whoever attaches to the device decides on both anew.
 */
function create({ link, netns }: Required<At>, config: TapConfiguration): Operation {
  const { owner, group, multiQueue, selinuxContext = '' } = config
  const hasOwners = owner !== undefined && group !== undefined && selinuxContext === ''
  const words = [
    ...['tuntap', 'add', 'mode', 'tap', 'name', link],
    ...(multiQueue ? ['multi_queue'] : []),
    ...(owner === undefined ? [] : ['user', String(owner)]),
    ...(group === undefined ? [] : ['group', String(group)]),
    ...(hasOwners ? ['vnet_hdr'] : []),
  ]
  const plain = ip(netns, words, `create the tap device ${link}`)
  return {
    ...(selinuxContext === '' ? plain : { ...plain, tool: 'runcon', argv: [selinuxContext, 'ip', ...words] }),
    undo: [deleteLink({ link, netns })],
    shownBy: { link, netns, exists: true },
    meaning: {
      absent: { code: codes.featureMissing, fix: 'load the kernel module tun, and see that /dev/net/tun is there' },
      exists: {
        code: codes.nameTaken,
        fix: 'remove or rename the interface that is there; a DEL of the attachment does',
      },
    },
  }
}

function setUpAs(at: At, mac: string, { mtu, bridge = '' }: TapConfiguration): Operation {
  const size = mtu > 0 ? ['mtu', String(mtu)] : []
  const master = bridge === '' ? [] : ['master', bridge]
  return setLink(at, ['address', mac, ...size, ...master], `give ${at.link} its address and size`)
}

function chooseMac({ config, args, attachment, host }: TapCall): string {
  const asked = macOf(config.runtimeConfig?.mac || args.get('MAC') || config.mac || '')
  return asked ?? macFrom(`${host.observer.bootID()}/tap/${attachmentHash(attachment)}`)
}

function requireBridge({ config, host }: TapCall, netns: string): void {
  const { bridge = '' } = config
  const kind = bridge === '' ? 'bridge' : host.observer.link(bridge, netns)?.linkinfo?.info_kind
  if (kind === 'bridge') return
  throw new CniError(codes.operationFailed, `failed to get bridge ${bridge}: the container has no such bridge`, {
    official: `failed to get bridge ${bridge}: Link not found`,
    problems: [{ path: 'bridge', value: bridge, expected: 'the name of a bridge inside the container' }],
    fix: 'create it first, or leave "bridge" out: it is not a bridge of the host',
  })
}

/** One word of a context: letters, digits and the separators of users, roles, types, levels and categories. */
function isContext(text: string): boolean {
  for (const char of text.toLowerCase()) {
    const isAlphanumeric = (char >= 'a' && char <= 'z') || (char >= '0' && char <= '9')
    if (!isAlphanumeric && !'_:,.-'.includes(char)) return false
  }
  return !text.startsWith('-')
}

function differences({ config, host, environment, prevResult = emptyResult }: TapCall): readonly Problem[] {
  const { ifName } = environment
  const netns = requireNetns(environment.netns)
  const { link, problems } = interfaceDifferences(host, { netns, ifName, prevResult, kind: 'tun' })
  if (!link) return problems
  const data = link.linkinfo?.info_data ?? {}
  const found = { type: data['type'], multi_queue: data['multi_queue'] ?? false, mtu: link.mtu, master: link.master }
  const wanted = {
    type: 'tap',
    multi_queue: config.multiQueue,
    ...(config.mtu > 0 ? { mtu: config.mtu } : {}),
    ...(config.bridge ? { master: config.bridge } : {}),
  }
  const differing = Object.entries(wanted).filter(([key, value]) => found[key as keyof typeof found] !== value)
  return [
    ...problems,
    ...differing.map(([key, value]) => ({
      path: `interface ${ifName} ${key}`,
      value: found[key as keyof typeof found] ?? 'none',
      expected: String(value),
    })),
    ...(link.flags.includes('UP') ? [] : [{ path: `interface ${ifName}`, value: link.flags, expected: 'the flag UP' }]),
  ]
}
