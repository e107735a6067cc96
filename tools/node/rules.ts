import { existsSync, readFileSync } from 'node:fs'
import { bothFamilies } from '../../shared/plan/element.js'
import type { ListedRule, ListeningSocket } from '../../shared/plan/observer.js'
import { createMachine } from '../../shared/tools/machine.js'
import { commandOf, holdersOf } from '../../shared/tools/processes.js'
import { asCniError } from '../../shared/values/errors.js'
import { ownMeans } from './machine.js'
import type { FileReader } from './reader.js'

/** A rule of the host's that leads a port to a container, whoever made it. */
export interface PortRule {
  readonly family: 'ip' | 'ip6'
  readonly protocol: string
  /** A number, or a range "FIRST-LAST". */
  readonly port: string
  /** The host's address it is for; "" for every one. */
  readonly address: string
  /** Where packets go; "" where the rule's listing does not say. */
  readonly to: string
  /** Whose it says it is: the comment, of whatever form. */
  readonly owner: string
  /** Packets that began a connection there; undefined where nobody counts. */
  readonly hits: number | undefined
  readonly backend: 'nftables' | 'iptables'
}

/** A process of the host that listens on a port. */
export interface Listener {
  readonly protocol: string
  readonly address: string
  readonly port: number
  readonly process: string
}

/** All port rules of the host: of both suites, in nftables and iptables. What cannot be asked is noted. */
export function readRules(reader: FileReader): readonly PortRule[] {
  if (!reader.place.isHost) return []
  const { observer, run } = machine()
  const looks: readonly [string, () => readonly PortRule[]][] = [
    ...bothFamilies.flatMap((family): [string, () => readonly PortRule[]][] => [
      [`nftables ${family} podwire`, () => observer.elements(family).flatMap((one) => elementRule(family, one))],
      [
        `nftables ${family} cni_hostport`,
        () => observer.rules({ family, table: 'cni_hostport' }).flatMap((rule) => officialRule(family, rule)),
      ],
    ]),
    ...savers.map(({ tool, family, names }): [string, () => readonly PortRule[]] => [
      tool,
      () => {
        if (!isAsked(names)) return []
        const { status, stdout, stderr, failure } = run({ argv: [tool, '-c', '-t', 'nat'] })
        if (failure === 'ENOENT') return []
        if (status === 0) return savedRules(family, stdout)
        throw new Error(stderr.split('\n')[0] || `it ended with ${status ?? failure}`)
      },
    ]),
  ]
  return looks.flatMap(([what, look]) => {
    try {
      return look()
    } catch (thrown) {
      const { message, details } = asCniError(thrown)
      reader.note(what, `cannot be seen: ${[message, details].filter(Boolean).join(': ')}`)
      return []
    }
  })
}

/** The processes of the host that listen on one of these ports. */
export function readListeners(reader: FileReader, ports: ReadonlySet<number>): readonly Listener[] {
  if (!reader.place.isHost || ports.size === 0) return []
  const { observer } = machine()
  const sockets = protocols.flatMap((protocol) =>
    ([4, 6] as const).flatMap((family) =>
      observer
        .listening({ family, protocol })
        .filter(({ port }) => ports.has(port))
        .map((socket: ListeningSocket) => ({ ...socket, protocol })),
    ),
  )
  const holders = sockets.length > 0 ? holdersOf(new Set(sockets.map(({ inode }) => inode))) : new Map()
  const seen = new Set<string>()
  return sockets.flatMap(({ protocol, address, port, inode }) => {
    const key = [protocol, address, port].join(' ')
    if (seen.has(key)) return []
    seen.add(key)
    const [pid] = holders.get(inode) ?? []
    const process = pid === undefined ? 'a process' : `${pid} ${commandOf(pid)}`
    return [{ protocol, address, port, process }]
  })
}

/** The rules in what iptables-save -c shows of the table nat, in the chains of the official suite. */
export function savedRules(family: 'ip' | 'ip6', text: string): readonly PortRule[] {
  const owners = new Map<string, string>()
  const rules: (PortRule & { readonly chain: string })[] = []
  for (const line of text.split('\n')) {
    const words = wordsOf(line)
    const after = (...names: readonly string[]) => words[words.findIndex((word) => names.includes(word)) + 1] ?? ''
    const has = (name: string) => words.includes(name)
    const chain = has('-A') ? after('-A') : ''
    if (chain === 'CNI-HOSTPORT-DNAT' && has('-j')) owners.set(after('-j'), has('--comment') ? after('--comment') : '')
    if (!chain.startsWith('CNI-DN-') || after('-j') !== 'DNAT') continue
    const [hits = ''] = line.startsWith('[') ? line.slice(1).split(':') : []
    const address = has('-d') ? after('-d').replace(/\/(32|128)$/, '') : ''
    rules.push({
      chain,
      family,
      protocol: after('-p'),
      port: after('--dport', '--dports').replace(':', '-'),
      address,
      to: after('--to-destination'),
      owner: '',
      hits: hits === '' ? undefined : Number(hits),
      backend: 'iptables',
    })
  }
  return rules.map(({ chain, ...rule }) => ({ ...rule, owner: owners.get(chain) ?? '' }))
}

// --- internal

const protocols = ['tcp', 'udp', 'sctp'] as const

const savers = [
  { tool: 'iptables-save', family: 'ip', names: '' },
  { tool: 'ip6tables-save', family: 'ip6', names: '' },
  { tool: 'iptables-legacy-save', family: 'ip', names: '/proc/net/ip_tables_names' },
  { tool: 'ip6tables-legacy-save', family: 'ip6', names: '/proc/net/ip6_tables_names' },
] as const

/** The older interface is only asked where it is in use: asking brings it there. */
function isAsked(names: string): boolean {
  return names === '' || (existsSync(names) && readFileSync(names, 'latin1').includes('nat'))
}

function machine() {
  const { netlink, ...tools } = ownMeans()
  return { ...tools, ...createMachine(tools, netlink) }
}

const uncounted = { hits: undefined, backend: 'nftables' } as const

const plain = ['portmap_ports', 'portmap_ranges', 'portmap_addresses']

/** An element of ours: `[protocol, port]`, or `[address, protocol, port]`. */
function elementRule(
  family: 'ip' | 'ip6',
  { collection, key, comment = '' }: { collection: string; key: readonly string[]; comment?: string },
): readonly PortRule[] {
  if (!plain.includes(collection)) return []
  const [address = '', protocol = '', port = ''] = key.length === 3 ? key : ['', ...key]
  return [{ family, protocol, port, address, to: '', owner: comment, ...uncounted }]
}

/** A rule of the official plugin's nftables backend. */
function officialRule(family: 'ip' | 'ip6', rule: ListedRule): readonly PortRule[] {
  const { matches, target, targetPort, comment = '' } = rule
  const port = matches.find(({ field }) => field === 'dport')
  if (!port || target === undefined) return []
  const address = matches.find(({ field }) => field === 'daddr')?.value ?? ''
  const to = family === 'ip6' ? `[${target}]:${targetPort}` : `${target}:${targetPort}`
  return [{ family, protocol: port.protocol ?? '', port: port.value, address, to, owner: comment, ...uncounted }]
}

/** The words of a line of iptables-save: those with blanks stand in quotes, where \ escapes. */
function wordsOf(line: string): readonly string[] {
  const found = line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)
  return [...found].map(([, quoted, bare]) => quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '')
}
