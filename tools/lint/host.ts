import { spawnSync } from 'node:child_process'
import { type Cidr, formatCidr, networkOf, parseAddress, parseCidr } from '../../shared/values/address.js'
import { inRoot, listNames, type Place, readText, statOf, Unseen } from '../frame/place.js'
import type { Json, Network, PluginEntry } from './documents.js'
import type { Finding } from './finding.js'
import { isInside, overlap, subnetsOf } from './subnets.js'

// What of the host a configuration needs, or is in its way.

/** Looks at a host once for many networks. */
export class HostLook {
  /** What could not be looked at, and why. */
  readonly unseen: string[] = []
  private readonly place: Place
  private readonly programs = new Map<string, Program>()
  private readonly known: {
    links?: readonly string[] | undefined
    routes?: readonly Used[]
    managed?: readonly Used[]
  } = {}

  constructor(place: Place) {
    this.place = place
  }

  /** What is wrong with a network on this host. */
  findings(network: Network): Finding[] {
    return [
      ...network.plugins.flatMap((entry) => this.programFindings(network, entry)),
      ...network.plugins.flatMap((entry) => this.masterFindings(network, entry)),
      ...this.overlapFindings(network),
      ...network.plugins.flatMap((entry) => this.mtuFindings(network, entry)),
    ]
  }

  private programFindings(network: Network, entry: PluginEntry): Finding[] {
    const ipam = (entry.config['ipam'] as Json | undefined)?.['type']
    const used = [
      [entry.type, 'type'],
      [typeof ipam === 'string' ? ipam : '', 'ipam.type'],
    ] as const
    return used.flatMap(([type, key]) => {
      if (type === '' || type.includes('/')) return []
      const at = placeOf(entry, key)
      const { fault, versions } = this.program(type)
      if (fault) return [network.report('binary-missing', 'error', at, fault, `install ${type} in ${this.place.bin}`)]
      if (!versions || network.cniVersion === '' || versions.includes(network.cniVersion)) return []
      const message = `${this.place.bin}/${type} does not know cniVersion ${network.cniVersion}, only ${versions.join(', ')}`
      return [network.report('binary-version', 'error', at, message)]
    })
  }

  /** The program of a type; it is asked for VERSION where it is this host's. */
  private program(type: string): Program {
    const known = this.programs.get(type)
    if (known) return known
    const found = this.lookAtProgram(`${this.place.bin}/${type}`)
    this.programs.set(type, found)
    return found
  }

  private lookAtProgram(file: string): Program {
    const status = this.see(file, () => statOf(this.place, file))
    if (status === undefined) return { fault: `there is no ${file}` }
    if (!status.isFile()) return { fault: `${file} is no file` }
    if ((status.mode & 0o111) === 0) return { fault: `${file} may not be executed` }
    if (!this.place.isHost) return {}
    const { stdout, error } = spawnSync(inRoot(this.place, file), [], {
      env: { CNI_COMMAND: 'VERSION', ...(process.env['PATH'] ? { PATH: process.env['PATH'] } : {}) },
      input: '{"cniVersion":"1.1.0"}',
      encoding: 'utf8',
      timeout: 5000,
      killSignal: 'SIGKILL',
      maxBuffer: 65536,
    })
    const versions = versionsIn(stdout ?? '')
    return versions ? { versions } : { fault: `${file} does not answer VERSION${error ? `: ${error.message}` : ''}` }
  }

  private masterFindings(network: Network, entry: PluginEntry): Finding[] {
    const { config } = entry
    const key = entry.type === 'host-device' ? 'device' : 'master'
    const name = config[key]
    const isAsked =
      ['macvlan', 'ipvlan', 'vlan', 'host-device'].includes(entry.type) && typeof name === 'string' && name !== ''
    // A lent device is in a container while it is used.
    if (!isAsked || config['linkInContainer'] === true || config['dpdkMode'] === true) return []
    const links = this.links()
    if (!links || links.some((link) => fits(link, name))) return []
    const severity = key === 'device' ? 'warning' : 'error'
    return [
      network.report(
        'master',
        severity,
        placeOf(entry, key),
        `the host has no link "${name}", only ${links.join(', ')}`,
      ),
    ]
  }

  private links(): readonly string[] | undefined {
    this.known.links ??= this.see('/sys/class/net', () => listNames(this.place, '/sys/class/net'))
    return this.known.links
  }

  private mtuFindings(network: Network, entry: PluginEntry): Finding[] {
    const { mtu, master } = entry.config
    if (typeof mtu !== 'number' || mtu === 0) return []
    const isChild = ['macvlan', 'ipvlan', 'vlan'].includes(entry.type) && entry.config['linkInContainer'] !== true
    if (!isChild && entry.type !== 'bridge' && entry.type !== 'ptp') return []
    const below = isChild && typeof master === 'string' && master !== '' ? master : this.uplink()
    const most = below === undefined ? undefined : this.mtuOf(below)
    if (most === undefined || mtu <= most) return []
    const message = `mtu ${mtu} is above that of ${below}, ${most}`
    const fix = isChild ? undefined : 'packets to the outside will be fragmented or lost: use at most that'
    return [network.report('mtu', isChild ? 'error' : 'warning', placeOf(entry, 'mtu'), message, fix)]
  }

  private mtuOf(link: string): number | undefined {
    if (link.includes('/') || link === '..') return undefined
    const file = `/sys/class/net/${link}/mtu`
    const text = this.see(file, () => readText(this.place, file))
    return text === undefined ? undefined : Number.parseInt(text, 10)
  }

  private uplink(): string | undefined {
    return this.routes().find(({ cidr }) => cidr.prefix === 0)?.link
  }

  private overlapFindings(network: Network): Finding[] {
    return subnetsOf(network).flatMap(({ path, cidr, bridge }) => {
      const others = [
        ...this.routes().filter(
          ({ link, cidr: route }) =>
            route.prefix > 0 && link !== bridge && link !== 'lo' && !isOfContainer(route, cidr),
        ),
        ...this.managed(),
      ]
      const other = others.find((one) => overlap(one.cidr, cidr))
      if (!other) return []
      const message = `${formatCidr(cidr)} overlaps ${formatCidr(other.cidr)}, ${other.what}`
      return [network.report('subnet-overlap', 'warning', path, message, 'use a subnet that leads nowhere else')]
    })
  }

  private routes(): readonly Used[] {
    const read = (file: string) => this.see(file, () => readText(this.place, file)) ?? ''
    this.known.routes ??= [...routes4(read('/proc/net/route')), ...routes6(read('/proc/net/ipv6_route'))]
    return this.known.routes
  }

  /** What Docker and libvirt have taken, by their configuration: their bridges may be down now. */
  private managed(): readonly Used[] {
    this.known.managed ??= this.lookAtManaged()
    return this.known.managed
  }

  private lookAtManaged(): readonly Used[] {
    const daemon = this.see('/etc/docker/daemon.json', () => readText(this.place, '/etc/docker/daemon.json'))
    const folder = '/etc/libvirt/qemu/networks'
    const files = (this.see(folder, () => listNames(this.place, folder)) ?? []).filter((name) => name.endsWith('.xml'))
    const networks = files.flatMap((name) => {
      const text = this.see(`${folder}/${name}`, () => readText(this.place, `${folder}/${name}`)) ?? ''
      return libvirtSubnets(text).map((cidr) => ({ cidr, what: `libvirt's network in ${folder}/${name}` }))
    })
    return [
      ...dockerSubnets(daemon ?? '').map((cidr) => ({ cidr, what: "Docker's by /etc/docker/daemon.json" })),
      ...networks,
    ]
  }

  private see<Value>(what: string, look: () => Value | undefined): Value | undefined {
    try {
      return look()
    } catch (thrown) {
      if (!(thrown instanceof Unseen)) throw thrown
      const why = `${what} ${thrown.message}`
      if (!this.unseen.includes(why)) this.unseen.push(why)
      return undefined
    }
  }
}

// --- internal

interface Program {
  readonly fault?: string
  readonly versions?: readonly string[]
}

/** A subnet that something else has. */
interface Used {
  readonly cidr: Cidr
  readonly what: string
  readonly link?: string
}

function placeOf({ path }: PluginEntry, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

function versionsIn(stdout: string): readonly string[] | undefined {
  try {
    const { supportedVersions } = JSON.parse(stdout) as { supportedVersions?: unknown }
    return Array.isArray(supportedVersions) ? supportedVersions.map(String) : undefined
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}

/** A name, or a pattern with * and ?. */
function fits(link: string, pattern: string): boolean {
  const escaped = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${escaped}$`).test(link)
}

/** The route to one container of the subnet itself, as ptp makes it. */
function isOfContainer(route: Cidr, subnet: Cidr): boolean {
  const isHost = route.prefix === (route.address.family === 4 ? 32 : 128)
  return isHost && isInside(route, subnet)
}

/** Lines of /proc/net/route: link, destination and mask as little-endian hexadecimal. */
function routes4(text: string): Used[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [link = '', destination = '', , , , , , mask = ''] = line.split('\t')
      if (!/^[0-9A-F]{8}$/i.test(destination) || !/^[0-9A-F]{8}$/i.test(mask)) return []
      const octets = (destination.match(/../g) ?? []).toReversed().map((hex) => Number.parseInt(hex, 16))
      const prefix = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length
      const cidr = parseCidr(`${octets.join('.')}/${prefix}`)
      return cidr ? [{ cidr, link, what: `a route by ${link}` }] : []
    })
}

/** Lines of /proc/net/ipv6_route: destination, prefix length, ..., link. */
function routes6(text: string): Used[] {
  return text.split('\n').flatMap((line) => {
    const [destination = '', prefix = '', ...rest] = line.split(/\s+/)
    const link = rest.at(-1) ?? ''
    const address = parseAddress(destination.match(/.{4}/g)?.join(':') ?? '')
    if (!address || link === 'lo' || /^(fe8|ff)/.test(destination)) return []
    return [{ cidr: { address, prefix: Number.parseInt(prefix, 16) }, link, what: `a route by ${link}` }]
  })
}

function dockerSubnets(text: string): Cidr[] {
  let daemon: { bip?: unknown; 'fixed-cidr'?: unknown; 'default-address-pools'?: unknown }
  try {
    daemon = JSON.parse(text || '{}')
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return []
    throw thrown
  }
  const pools = daemon['default-address-pools']
  const bases = Array.isArray(pools) ? pools.map((pool) => (pool as { base?: unknown } | null)?.base) : []
  return [daemon.bip, daemon['fixed-cidr'], ...bases].flatMap((one) => {
    const cidr = typeof one === 'string' ? parseCidr(one) : undefined
    return cidr ? [networkOf(cidr)] : []
  })
}

/** The `ip` elements of libvirt's XML. */
function libvirtSubnets(text: string): Cidr[] {
  return [...text.matchAll(/<ip\s([^>]*)>/g)].flatMap(([, attributes = '']) => {
    const attribute = (name: string) => new RegExp(`\\b${name}=['"]([^'"]*)['"]`).exec(attributes)?.[1]
    const mask = attribute('netmask')
      ?.split('.')
      .map((octet) => Number(octet).toString(2))
      .join('')
    const prefix = attribute('prefix') ?? mask?.replaceAll('0', '').length
    const cidr = parseCidr(`${attribute('address')}/${prefix}`)
    return cidr ? [networkOf(cidr)] : []
  })
}
