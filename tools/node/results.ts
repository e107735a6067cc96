import { isObject } from '../../shared/values/object.js'
import { type FileReader, objectsIn, textIn } from './reader.js'

// What libcni keeps of every ADD: containerd, CRI-O, Podman, nerdctl and cnitool all have it do that, in one place
// unless they were told another.

/** A cached result, and the call it came of. */
export interface CachedResult {
  readonly file: string
  readonly modified: number
  readonly network: string
  readonly containerID: string
  readonly ifName: string
  /** "" where neither the call nor the result says it. */
  readonly netns: string
  /** With prefix lengths, of the attachment's interface. */
  readonly addresses: readonly string[]
  readonly mac: string
  /** The last link of the host in the result: a bridge's port rather than the bridge. */
  readonly hostLink: string
  readonly ports: readonly MappedPort[]
  /** The list, as it was when the attachment was made. */
  readonly list: Readonly<Record<string, unknown>>
  readonly plugins: readonly Readonly<Record<string, unknown>>[]
  readonly args: string
  readonly capabilities: Readonly<Record<string, unknown>>
  readonly result: Readonly<Record<string, unknown>>
}

export interface MappedPort {
  readonly protocol: string
  readonly host: number
  readonly container: number
  /** The host's address it is for; "" for every one. */
  readonly address: string
}

export function readResults(reader: FileReader): readonly CachedResult[] {
  const known = new Map<string, Json>()
  return resultFolders.flatMap((folder) =>
    reader.names(folder).flatMap((name) => {
      const file = `${folder}/${name}`
      const found = resultIn(reader, file, known)
      return found ? [found] : []
    }),
  )
}

// --- internal

/** libcni's own folder, that of its first versions, and where nodes put it that forget at a reboot. */
const resultFolders = ['/var/lib/cni/results', '/var/lib/cni/cache/results', '/run/cni/results']

type Json = Readonly<Record<string, unknown>>

function resultIn(reader: FileReader, file: string, known: Map<string, Json>): CachedResult | undefined {
  const json = reader.json(file)
  if (json === undefined) return undefined
  if (textIn(json, 'kind') !== 'cniCacheV1') {
    reader.note(file, 'is of a libcni that does not say which container it is of')
    return undefined
  }
  const [network, containerID] = [textIn(json, 'networkName'), textIn(json, 'containerId')]
  const ifName = textIn(json, 'ifName')
  if (network === '' || containerID === '' || ifName === '') {
    reader.note(file, 'names no attachment')
    return undefined
  }
  const list = listIn(reader, file, { base64: textIn(json, 'config'), known })
  const result = isObject(json['result']) ? json['result'] : {}
  const capabilities = isObject(json['capabilityArgs']) ? json['capabilityArgs'] : {}
  const { sandbox, ...links } = linksOf(result, ifName)
  return {
    file,
    modified: reader.stat(file)?.mtimeMs ?? 0,
    network,
    containerID,
    ifName,
    // That of containerd 1 and Podman 4 keeps no namespace beside the result.
    netns: textIn(json, 'netns') || sandbox,
    list,
    plugins: list['plugins'] === undefined ? [list] : objectsIn(list['plugins']),
    args: argsOf(json['cniArgs']),
    capabilities,
    result,
    ports: objectsIn(capabilities['portMappings']).flatMap(portOf),
    ...links,
  }
}

/** The text is base64 of what the runtime loaded: the same for most attachments, so it is kept once. */
function listIn(
  reader: FileReader,
  file: string,
  { base64, known }: { base64: string; known: Map<string, Json> },
): Json {
  try {
    const found = known.get(base64)
    if (found) return found
    const list: unknown = JSON.parse(Buffer.from(base64, 'base64').toString('utf8'))
    if (isObject(list)) {
      known.set(base64, list)
      return list
    }
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown
  }
  reader.note(file, 'holds no configuration')
  return {}
}

function argsOf(value: unknown): string {
  if (!Array.isArray(value)) return ''
  return value.flatMap((pair) => (Array.isArray(pair) && pair.length === 2 ? [pair.join('=')] : [])).join(';')
}

/** Names as Go takes them: containerd's are "HostPort" and so on. */
function portOf(written: Readonly<Record<string, unknown>>): readonly MappedPort[] {
  const mapping = Object.fromEntries(Object.entries(written).map(([name, value]) => [name.toLowerCase(), value]))
  const [host, container] = [mapping['hostport'], mapping['containerport']]
  if (typeof host !== 'number' || typeof container !== 'number') return []
  const address = textIn(mapping, 'hostip')
  const isAny = address === '0.0.0.0' || address === '::'
  const protocol = (textIn(mapping, 'protocol') || 'tcp').toLowerCase()
  return [{ protocol, host, container, address: isAny ? '' : address }]
}

/** Addresses, MAC, host link and namespace, of every form a result has had: before 0.3.0 with "ip4" and "ip6". */
function linksOf(result: Readonly<Record<string, unknown>>, ifName: string) {
  const links = objectsIn(result['interfaces'])
  const inside = (link: unknown) => textIn(link, 'sandbox') !== ''
  const own = links.find((link) => inside(link) && textIn(link, 'name') === ifName)
  const isOwn = ({ interface: index }: Readonly<Record<string, unknown>>) =>
    typeof index !== 'number' || own === undefined || links[index] === own
  const listed = objectsIn(result['ips']).filter(isOwn)
  const addresses = [
    ...listed.map((ip) => textIn(ip, 'address')),
    ...['ip4', 'ip6'].map((name) => textIn(result[name], 'ip')),
  ]
  const hostLinks = links.filter((link) => !inside(link))
  return {
    addresses: addresses.filter((address) => address !== ''),
    mac: textIn(own, 'mac'),
    sandbox: textIn(own, 'sandbox'),
    hostLink: textIn(hostLinks.at(-1), 'name'),
  }
}
