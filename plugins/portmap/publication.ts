import { bothFamilies } from '../../shared/plan/element.js'
import type { Call } from '../../shared/program/plugin.js'
import { formatAddress, hostPart, parseAddress } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import {
  conditionWords,
  hasMarkChains,
  languageOf,
  otherBackend,
  understandingBackend,
  wordProblems,
} from './conditions.js'
import type { Backend, PortMapping, PortmapConfiguration } from './portmap.schema.js'

export type PortmapCall = Call<PortmapConfiguration>
export type Family = 'ip' | 'ip6'
export type Protocol = 'tcp' | 'udp' | 'sctp'

/**
 * What is known of an attachment's published ports, enough to remove them; its record tells whether their owner is
 * dead.
 */
export interface Published {
  readonly backend: Backend
  readonly publications: readonly Publication[]
  /** iptables: the mark that asks for masquerade. */
  readonly mark?: { readonly bit: number } | { readonly chain: string }
  /** Other interfaces of the same container that wait for the same ports. */
  readonly heirs?: readonly Attachment[]
}

/** One port of the host that leads to one of the container. */
export interface Port {
  readonly protocol: Protocol
  readonly host: number
  readonly container: number
  /** The host's address it is for; absent: every one. */
  readonly address?: string
}

/** What one attachment publishes in one family: all that its rules are made of, and so all that its record holds. */
export interface Publication {
  readonly family: Family
  /** The container's address, and the same with its prefix length, host bits kept. */
  readonly address: string
  readonly cidr: string
  readonly ports: readonly Port[]
  /**
   * Who reaches the container from the host's address: those who could not be answered otherwise, nobody, everybody.
   */
  readonly masquerade: 'hairpin' | 'none' | 'all'
  /** Its subnet is the address alone, as where pods are routed: who could not be answered is the container itself. */
  readonly alone?: true
  readonly conditions: readonly string[]
  /** Ports of addresses that a process of the host listens on, which go on to lead to it (`container` is 0). */
  readonly spared?: readonly Port[]
  /** Another interface of the same container has these ports; this one gets them when that one goes. */
  readonly waiting?: true
}

/** The one that the configuration names, or that understands what it says. */
export function backendOf({
  backend,
  externalSetMarkChain,
  conditionsV4,
  conditionsV6,
}: PortmapConfiguration): Backend {
  return backend ?? understandingBackend(externalSetMarkChain !== undefined, [conditionsV4, conditionsV6])
}

/** What the attachment publishes: a family for each address of its interface that some mapping is for. */
export function publicationsOf(call: PortmapCall): readonly Publication[] {
  const { config } = call
  const mappings = config.runtimeConfig?.portMappings ?? []
  const own = addressedOf(call)
  return bothFamilies.flatMap((family) => {
    const cidr = own.find(({ address }) => familyOf(address) === family)?.address
    const ports = portsOf(mappings, family)
    if (cidr === undefined || ports.length === 0) return []
    const address = hostPart(cidr)
    const masquerade = !config.snat ? 'none' : config.masqAll ? 'all' : 'hairpin'
    const conditions = (family === 'ip' ? config.conditionsV4 : config.conditionsV6) ?? []
    const alone = masquerade === 'hairpin' && isAlone(cidr) ? { alone: true as const } : {}
    const words = conditionWords(conditions, backendOf(config))
    return [{ family, address, cidr, ports, masquerade, ...alone, conditions: words }]
  })
}

/** The addresses of the attachment's interface, without prefix lengths. */
export function ownAddresses(call: PortmapCall): readonly string[] {
  return addressedOf(call).map(({ address }) => hostPart(address))
}

/** The mistakes in a configuration that single keys do not show. */
export function publicationProblems({ config }: PortmapCall): readonly Problem[] {
  const mappings = config.runtimeConfig?.portMappings ?? []
  return [
    ...backendProblems(config),
    ...mappings.flatMap(({ protocol }, index) =>
      isProtocol(protocol.toLowerCase())
        ? []
        : [{ path: `${mappingsPath}[${index}].protocol`, value: protocol, expected: 'one of "tcp", "udp", "sctp"' }],
    ),
    ...contradictions(mappings),
  ]
}

/** "8080/tcp", or "127.0.0.1:8080/tcp". */
export function portText({ protocol, host, address }: Port): string {
  const where = address === undefined ? '' : address.includes(':') ? `[${address}]:` : `${address}:`
  return `${where}${host}/${protocol}`
}

/** A port both publications want: same family, protocol and number, and addresses that overlap. */
export function sharedPort(one: Publication, other: Publication): Port | undefined {
  if (one.family !== other.family) return undefined
  const others = new Map<string, (string | undefined)[]>()
  for (const { protocol, host, address } of other.ports) {
    const key = `${protocol} ${host}`
    others.set(key, [...(others.get(key) ?? []), address])
  }
  return one.ports.find(({ protocol, host, address }) => {
    const addresses = others.get(`${protocol} ${host}`)
    return addresses?.some((its) => its === undefined || address === undefined || its === address)
  })
}

/** Who somebody else is, for an error. */
export function nameOf({ network, containerID, ifName }: Attachment): string {
  return `container "${containerID}" (network "${network}", interface ${ifName})`
}

// --- internal

const mappingsPath = 'runtimeConfig.portMappings'

function addressedOf({ prevResult, environment }: PortmapCall) {
  return (prevResult?.ips ?? []).filter(({ interface: index }) => {
    const made = prevResult?.interfaces[index ?? -1]
    return made === undefined || (made.name === environment.ifName && made.sandbox)
  })
}

function isAlone(cidr: string): boolean {
  return cidr.endsWith(familyOf(cidr) === 'ip' ? '/32' : '/128')
}

function familyOf(address: string): Family {
  return address.includes(':') ? 'ip6' : 'ip'
}

function isProtocol(text: string): text is Protocol {
  return text === 'tcp' || text === 'udp' || text === 'sctp'
}

/** The mappings of a family, each once; a hostIP, also an unspecified one, is for its own family only. */
function portsOf(mappings: readonly PortMapping[], family: Family): readonly Port[] {
  const found = new Map<string, Port>()
  for (const mapping of mappings) {
    const hostIP = canonical(mapping.hostIP ?? '')
    if (hostIP !== '' && familyOf(hostIP) !== family) continue
    const protocol = mapping.protocol.toLowerCase()
    if (!isProtocol(protocol)) continue
    const everywhere = hostIP === '' || hostIP === '0.0.0.0' || hostIP === '::'
    const port = { protocol, host: mapping.hostPort, container: mapping.containerPort }
    const one = everywhere ? port : { ...port, address: hostIP }
    found.set(portText(one), one)
  }
  return [...found.values()]
}

function canonical(text: string): string {
  const address = parseAddress(text)
  return address ? formatAddress(address) : ''
}

/** Two mappings of one port of one address to different ports of the container. */
function contradictions(mappings: readonly PortMapping[]): readonly Problem[] {
  const seen = new Map<string, number>()
  return mappings.flatMap(({ hostPort, containerPort, protocol, hostIP = '' }, index) => {
    const key = `${hostPort}/${protocol.toLowerCase()} ${canonical(hostIP)}`
    const before = seen.get(key) ?? containerPort
    seen.set(key, before)
    if (before === containerPort) return []
    const expected = `${before}, as another mapping of host port ${hostPort}/${protocol} says`
    return [{ path: `${mappingsPath}[${index}].containerPort`, value: containerPort, expected }]
  })
}

function backendProblems(config: PortmapConfiguration): readonly Problem[] {
  const { externalSetMarkChain, markMasqBit, conditionsV4, conditionsV6 } = config
  const problems: Problem[] = []
  if (externalSetMarkChain !== undefined && markMasqBit !== undefined) {
    problems.push({
      path: 'markMasqBit',
      value: markMasqBit,
      expected: 'nothing where externalSetMarkChain is given',
      official: 'failed to parse config: Cannot specify externalSetMarkChain and markMasqBit',
    })
  }
  const backend = backendOf(config)
  const foreign = foreignOptions(config, backend)
  const official = `failed to parse config: ${backend} backend was requested but configuration contains ${otherBackend(backend)}-specific options [${foreign.join(' ')}]`
  if (externalSetMarkChain !== undefined && !hasMarkChains(backend)) {
    const fix = `use the backend "${otherBackend(backend)}", which has mark chains`
    problems.push({ path: 'externalSetMarkChain', value: externalSetMarkChain, expected: 'nothing', fix, official })
  }
  for (const [path, words] of Object.entries({ conditionsV4, conditionsV6 })) {
    const language = languageOf(words)
    if (language !== undefined && language !== backend) {
      problems.push({ path, value: words, expected: `matches in the words of ${backend}, the backend`, official })
    }
    if (language === backend) problems.push(...wordProblems(path, words ?? [], backend))
  }
  return problems
}

/** The options that only the other backend has, in the order of the official plugin. */
function foreignOptions(config: PortmapConfiguration, backend: Backend): readonly string[] {
  const { externalSetMarkChain, conditionsV4, conditionsV6 } = config
  const isForeign = (words: readonly string[] | undefined) => ![undefined, backend].includes(languageOf(words))
  return [
    ...(externalSetMarkChain !== undefined && !hasMarkChains(backend) ? ['externalSetMarkChain'] : []),
    ...(isForeign(conditionsV4) ? ['conditionsV4'] : []),
    ...(isForeign(conditionsV6) ? ['conditionsV6'] : []),
  ]
}
