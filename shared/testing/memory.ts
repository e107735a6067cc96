import type { Command, Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { formatCidr, networkOf, parseCidr } from '../values/address.js'
import { holding } from './golden.js'

// A machine in memory: what ip, tc, nft, iptables and sysctl change is there for the next look, in the words in which
// the tools show it. As much of them as calls of plugins use; what is not known here fails the test. Whether the real
// ones do the same is for conformance/.

/** What one command did; undefined for one that is answered by nobody here. */
export type Told = Partial<Outcome> | undefined

export interface Memory {
  readonly run: (command: Pick<Command, 'argv' | 'stdin'>) => Told
  readonly files: Files
  /** All there is, one thing a line, sorted: "host link cni0 ...", "nft ip podwire set x y", "iptables nat -A ...". */
  readonly things: () => readonly string[]
  /** Takes one of `things` away, whoever it belongs to. */
  readonly remove: (thing: string) => void
  /** @returns what makes all be as it is now */
  readonly save: () => () => void
}

export type Where = 'host' | 'container' | 'container2'

/** The namespace of a second container: another path to where golden rows have theirs. */
export const secondNetns = `/proc/${process.pid}/ns/net`

/** A link as `ip -j -d addr show` has it. */
export interface Link {
  ifindex: number
  ifname: string
  flags: string[]
  mtu: number
  // biome-ignore lint/suspicious/noExplicitAny: as ip prints it
  [key: string]: any
}

/** @param given links of the host and of the container, and files beside those that links make */
export function createMemory(
  given: {
    host?: readonly Partial<Link>[]
    container?: readonly Partial<Link>[]
    container2?: readonly Partial<Link>[]
    files?: Readonly<Record<string, string>>
    /** Settings of the containers, by their paths such as net/ipv4/conf/eth0/arp_filter. */
    settings?: Readonly<Record<string, string>>
  } = {},
): Memory {
  const network = createNetwork(given)
  const nft = createNft()
  const tables = createTables()
  const firewalld = createFirewalld()
  const inside = createSettings(given.settings ?? {})
  const parts = [network, nft, tables, firewalld, inside]
  const settings: Record<string, string> = { ...given.files }
  const files = () => {
    const names = [...network.links('host').keys()]
    const folders = names.map((name) => [`/proc/sys/net/ipv4/conf/${name}/forwarding`, '0\n'])
    return holding({ ...Object.fromEntries(folders), ...settings })
  }
  const run = (command: Pick<Command, 'argv' | 'stdin'>): Told => {
    const { argv, stdin = '' } = command
    const isInside = argv[0] === 'nsenter'
    const where: Where = isInside ? whereOf(argv[1]?.slice('--net='.length) ?? '') : 'host'
    const [tool = '', ...words] = isInside ? argv.slice(2) : argv
    if (tool === 'ip' || tool === 'tc') return network.run(where, tool, words, stdin)
    if (tool === 'bridge') return {}
    if (tool === 'busctl') return firewalld.run(words)
    if (tool === 'grep') return inside.show(where, words)
    if (tool === 'sh') {
      inside.write(where, words.slice(3))
      return network.run(where, 'ip', ['-batch', '-'], stdin)
    }
    if (tool === 'nft') return nft.run(words, stdin)
    if (tool.endsWith('-save')) return tables.show(tool.replace('-save', ''), words[1] ?? '')
    if (tool.endsWith('-restore')) return tables.restore(tool.replace('-restore', ''), stdin)
    return undefined
  }
  return {
    run,
    files: {
      read: (path) => files().read(path),
      readLink: (path) => files().readLink(path),
      list: (path) => files().list(path),
      write: (path, text) => {
        files().read(path)
        settings[path] = text
      },
    },
    things: () => parts.flatMap((one) => one.things()).sort(),
    remove: (thing) => {
      if (!parts.some((one) => one.remove(thing))) throw new Error(`there is no ${thing}`)
    },
    save: () => {
      const saved = parts.map((one) => one.save())
      return () => {
        for (const restore of saved) restore()
      }
    },
  }
}

// --- internal

const lines = (text: string) => text.split('\n').filter((line) => line !== '')
const absentDevice = (name: string) => ({ status: 1, stderr: `Cannot find device "${name}"\n` })

function refill<T>(map: Map<string, T>, from: ReadonlyMap<string, T>): void {
  map.clear()
  for (const [key, value] of from) map.set(key, value)
}

/** The host is where process 1 is. */
function whereOf(path: string): Where {
  if (path === secondNetns) return 'container2'
  return path.startsWith('/proc/1/') ? 'host' : 'container'
}

// Links, addresses, routes, queueing disciplines.

interface Part {
  readonly things: () => readonly string[]
  readonly remove: (thing: string) => boolean
  readonly save: () => () => void
}

interface Network extends Part {
  readonly run: (where: Where, tool: string, words: readonly string[], stdin: string) => Told
  readonly links: (where: Where) => Map<string, Link>
}

function createNetwork(given: Partial<Record<Where, readonly Partial<Link>[]>>): Network {
  let next = 10
  const namespaces = {
    host: new Map<string, Link>(),
    container: new Map<string, Link>(),
    container2: new Map<string, Link>(),
  }
  const routes: { where: Where; words: string[] }[] = []
  const rules: { where: Where; words: string[] }[] = []
  const qdiscs = new Map<string, { kind: string; words: readonly string[] }>()
  const redirects = new Map<string, string>()
  const put = (where: Where, link: Partial<Link>) => {
    const whole = { ifindex: next++, ifname: '', flags: [], mtu: 1500, operstate: 'UP', addr_info: [], ...link }
    namespaces[where].set(whole.ifname, { ...whole, flags: [...whole.flags], addr_info: [...whole.addr_info] })
    for (const { local, prefixlen } of whole.addr_info) connect(where, whole.ifname, `${local}/${prefixlen}`)
  }
  /** The route that the kernel makes with an address. */
  const connect = (where: Where, link: string, address: string) => {
    const cidr = parseCidr(address)
    if (!cidr) throw new Error(`${address} is no address`)
    const [local = ''] = address.split('/')
    const more = local.includes(':') ? [] : ['scope', '253', 'src', local]
    routes.push({ where, words: [formatCidr(networkOf(cidr)), 'dev', link, 'proto', '2', ...more] })
  }
  for (const where of ['host', 'container', 'container2'] as const)
    for (const one of given[where] ?? []) put(where, one)

  const change = (where: Where, words: readonly string[]): Told => {
    const [object, verb, ...rest] = words[0]?.startsWith('-') ? words.slice(1) : words
    const after = (word: string) => rest[rest.indexOf(word) + 1] ?? ''
    const has = (word: string) => rest.includes(word)
    const links = namespaces[where]
    if (object === 'link' && verb === 'add') return addLink(where, rest)
    if (object === 'tuntap') {
      if (links.has(after('name'))) return { status: 1, stderr: 'ioctl(TUNSETIFF): Device or resource busy\n' }
      put(where, { ifname: after('name'), linkinfo: { info_kind: 'tun', info_data: { type: 'tap' } } })
      return {}
    }
    if (object === 'rule') {
      if (verb === 'del') return dropped(rules, where, rest)
      rules.push({ where, words: rest })
      return {}
    }
    if (object === 'neigh') return {}
    const link = links.get(after('dev'))
    if (!link) return absentDevice(after('dev'))
    if (object === 'link' && verb === 'del') return deleteLink(where, link)
    if (object === 'link') return setLink(where, link, rest)
    if (object === 'addr') {
      const [local = '', prefix = ''] = (rest[0] ?? '').split('/')
      const isThere = (one: { local: string; prefixlen: number }) => one.local === local && one.prefixlen === +prefix
      if (verb === 'del') {
        if (!link['addr_info'].some(isThere)) return { status: 2, stderr: 'Cannot assign requested address\n' }
        link['addr_info'] = link['addr_info'].filter((one: never) => !isThere(one))
        drop(routes, (one) => one.where === where && one.words.join(' ').endsWith(` src ${local}`))
        return {}
      }
      if (link['addr_info'].some(isThere)) return { status: 2, stderr: 'RTNETLINK answers: File exists\n' }
      const family = local.includes(':') ? 'inet6' : 'inet'
      link['addr_info'].push({ family, local, prefixlen: +prefix, scope: 'global' })
      if (!has('noprefixroute')) connect(where, link.ifname, rest[0] ?? '')
      return {}
    }
    if (object === 'route') {
      const words = inMain(rest)
      if (verb === 'del') return dropped(routes, where, words)
      if (verb === 'replace') {
        const placeOf = (one: readonly string[]) =>
          [one[0], ...['table', 'metric'].map((word) => (one.includes(word) ? one[one.indexOf(word) + 1] : ''))].join(
            ' ',
          )
        drop(routes, (one) => one.where === where && placeOf(one.words) === placeOf(words))
      }
      if (routes.some((one) => one.where === where && one.words.join(' ') === words.join(' '))) {
        return { status: 2, stderr: 'RTNETLINK answers: File exists\n' }
      }
      routes.push({ where, words })
      return {}
    }
    throw new Error(`memory does not know ip ${words.join(' ')} (${has('dev')})`)
  }
  const drop = (
    list: { where: Where; words: string[] }[],
    isGone: (one: { where: Where; words: string[] }) => boolean,
  ) => {
    list.splice(0, list.length, ...list.filter((one) => !isGone(one)))
  }
  const dropped = (list: { where: Where; words: string[] }[], where: Where, words: readonly string[]): Told => {
    const at = list.findIndex(
      (one) => one.where === where && one.words[0] === words[0] && words.every((word) => one.words.includes(word)),
    )
    if (at < 0) return { status: 2, stderr: 'RTNETLINK answers: No such process\n' }
    list.splice(at, 1)
    return {}
  }
  const addLink = (where: Where, words: readonly string[]): Told => {
    const [own, type] = [words.slice(0, words.indexOf('type')), words.slice(words.indexOf('type') + 1)]
    const after = (list: readonly string[], word: string) =>
      list.includes(word) ? list[list.indexOf(word) + 1] : undefined
    const name = after(own, 'name') ?? ''
    const place = after(own, 'netns') === undefined ? where : whereOf(after(own, 'netns') ?? '')
    const peer = after(type, 'peer') && type.slice(type.indexOf('peer'))
    const peerName = peer && after(peer, 'name')
    const peerPath = peer && after(peer, 'netns')
    const peerPlace = peerPath ? whereOf(peerPath) : where
    if (namespaces[place].has(name) || (peerName && namespaces[peerPlace].has(peerName))) {
      return { status: 2, stderr: 'RTNETLINK answers: File exists\n' }
    }
    const parent = after(own, 'link')
    if (parent !== undefined && !namespaces[where].has(parent)) return absentDevice(parent)
    const data: Record<string, unknown> = {}
    const [kind, ...options] = type.slice(0, peer ? type.indexOf('peer') : undefined)
    for (let at = 0; at + 1 < options.length; at += 2) {
      const value = options[at + 1] ?? ''
      data[options[at] ?? ''] = Number.isNaN(Number(value)) ? value : Number(value)
    }
    put(place, {
      ifname: name,
      address: after(own, 'address') ?? namespaces[where].get(parent ?? '')?.['address'] ?? '02:00:00:00:ff:01',
      mtu: Number(after(own, 'mtu') ?? 1500),
      txqlen: Number(after(own, 'txqueuelen') ?? 1000),
      linkinfo: { info_kind: kind, info_data: data },
      ...(after(own, 'master') === undefined ? {} : { master: after(own, 'master') }),
      ...(parent === undefined ? {} : { link: parent, link_index: namespaces[where].get(parent)?.ifindex }),
    })
    if (peer && peerName) {
      put(peerPlace, { ifname: peerName, address: after(peer, 'address') ?? '', linkinfo: { info_kind: 'veth' } })
      const [one, other] = [namespaces[place].get(name), namespaces[peerPlace].get(peerName)] as [Link, Link]
      one['link_index'] = other.ifindex
      other['link_index'] = one.ifindex
      other.mtu = Number(after(peer, 'mtu') ?? 1500)
    }
    return {}
  }
  const forget = (where: Where, name: string) => {
    namespaces[where].delete(name)
    for (const list of [routes, rules]) {
      drop(list, (one) => one.where === where && `${one.words.join(' ')} `.includes(`dev ${name} `))
    }
    if (where !== 'host') return
    for (const place of qdiscs.keys()) if (place.startsWith(`${name} `)) qdiscs.delete(place)
    redirects.delete(name)
  }
  const deleteLink = (where: Where, link: Link): Told => {
    forget(where, link.ifname)
    for (const place of ['host', 'container', 'container2'] as const) {
      for (const one of [...namespaces[place].values()]) {
        const isPeer = one.ifindex === link['link_index'] && one['link_index'] === link.ifindex
        if (isPeer || one['link_index'] === link.ifindex) forget(place, one.ifname)
      }
    }
    return {}
  }
  const setLink = (where: Where, link: Link, rest: readonly string[]): Told => {
    const words = rest.filter((word, at) => word !== 'dev' && rest[at - 1] !== 'dev')
    const set = (word: string, then: (value: string) => void) => {
      if (words.includes(word)) then(words[words.indexOf(word) + 1] ?? '')
    }
    const flag = (name: string, isOn: boolean) => {
      link.flags = [...link.flags.filter((one) => one !== name), ...(isOn ? [name] : [])]
    }
    if (words.includes('up')) flag('UP', true)
    if (words.includes('down')) flag('UP', false)
    set('promisc', (value) => {
      flag('PROMISC', value === 'on')
      link['promiscuity'] = value === 'on' ? 1 : 0
    })
    set('allmulticast', (value) => flag('ALLMULTI', value === 'on'))
    set('mtu', (value) => {
      link.mtu = Number(value)
    })
    set('txqueuelen', (value) => {
      link['txqlen'] = Number(value)
    })
    set('address', (value) => {
      link['address'] = value
    })
    set('alias', (value) => {
      const text = value.replaceAll('"', '')
      if (text === '') delete link['ifalias']
      else link['ifalias'] = text
    })
    set('master', (value) => {
      link['master'] = value
    })
    if (words.includes('nomaster')) delete link['master']
    const place = words.includes('netns') ? whereOf(words[words.indexOf('netns') + 1] ?? '') : where
    const name = words.includes('name') ? (words[words.indexOf('name') + 1] ?? '') : link.ifname
    if (place === where && name === link.ifname) return {}
    if (namespaces[place].has(name)) return { status: 2, stderr: 'RTNETLINK answers: File exists\n' }
    if (place === where) {
      namespaces[where].delete(link.ifname)
      for (const { where: at, words: route } of routes) {
        const index = route.indexOf('dev') + 1
        if (at === where && route[index] === link.ifname) route[index] = name
      }
    } else {
      forget(where, link.ifname)
      link['addr_info'] = []
      flag('UP', false)
    }
    link.ifname = name
    namespaces[place].set(name, link)
    return {}
  }
  const changeTc = ([object, verb, ...rest]: readonly string[]): Told => {
    const after = (word: string) => rest[rest.indexOf(word) + 1] ?? ''
    const link = after('dev')
    if (!namespaces.host.has(link)) return absentDevice(link)
    const place = `${link} ${rest.includes('ingress') ? 'ingress' : 'root'}`
    if (object === 'filter') {
      redirects.set(link, rest.at(-1) ?? '')
      return {}
    }
    if (verb === 'del') {
      if (place.endsWith('ingress')) redirects.delete(link)
      return qdiscs.delete(place) ? {} : { status: 2, stderr: 'Error: Invalid handle.\n' }
    }
    qdiscs.set(place, { kind: rest.includes('ingress') ? 'ingress' : 'tbf', words: rest })
    return {}
  }
  const shown = (words: readonly string[]): Told => {
    const link = words[words.indexOf('dev') + 1] ?? ''
    if (!namespaces.host.has(link)) return absentDevice(link)
    if (words.includes('filter')) {
      const target = redirects.get(link)
      const actions = [{ mirred_action: 'redirect', to_dev: target }]
      return { stdout: JSON.stringify(target === undefined ? [] : [{ options: { actions } }]) }
    }
    const found = [...qdiscs].flatMap(([place, { kind, words: own }]) => {
      if (!place.startsWith(`${link} `)) return []
      const number = (word: string) => Number.parseInt(own[own.indexOf(word) + 1] ?? '0', 10)
      const options = { rate: number('rate') / 8, burst: number('burst'), limit: number('limit') }
      return [{ kind, ...(kind === 'tbf' ? { root: true, options } : {}) }]
    })
    return { stdout: JSON.stringify(found) }
  }
  /** As `ip -N -j -d -batch -` answers "rule show" and "route show table all". */
  const numbered = (where: Where, family: string): Told => {
    const isOfFamily = (text: string) => (text.includes(':') ? '-6' : '-4') === family
    const own = routes
      .filter((one) => one.where === where && isOfFamily(one.words.join(' ')))
      .map(({ words: [dst = '', ...words] }) => {
        const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined)
        const gateway = after('via')
        return {
          ...{ type: '1', dst: printedDestination(dst), dev: after('dev'), flags: [] },
          ...{ table: after('table') ?? '254', protocol: after('proto') ?? '3' },
          scope: after('scope') ?? (gateway === undefined && family === '-4' ? '253' : '0'),
          ...(gateway === undefined ? {} : { gateway }),
          ...(after('src') === undefined ? {} : { prefsrc: after('src') }),
        }
      })
    const ruled = rules.filter((one) => one.where === where && isOfFamily(one.words.join(' ')))
    const shown = ruled.map(({ words }) => ({
      src: words[words.indexOf('from') + 1],
      table: words[words.indexOf('table') + 1],
    }))
    const standard = ['255', '254'].map((table) => ({ src: 'all', table }))
    return { stdout: `${JSON.stringify([...standard, ...shown])}\n${JSON.stringify(own)}\n` }
  }
  const all = () => ({ namespaces, routes, rules, qdiscs, redirects })
  return {
    save: () => {
      const saved = structuredClone(all())
      return () => {
        const {
          namespaces: links,
          routes: ways,
          rules: ruled,
          qdiscs: queues,
          redirects: targets,
        } = structuredClone(saved)
        Object.assign(namespaces, links)
        routes.splice(0, routes.length, ...ways)
        rules.splice(0, rules.length, ...ruled)
        refill(qdiscs, queues)
        refill(redirects, targets)
      }
    },
    links: (where) => namespaces[where],
    run: (where, tool, words, stdin) => {
      if (words.includes('-N')) return numbered(where, words.includes('-6') ? '-6' : '-4')
      if (tool === 'ip' && words.includes('addr') && words.includes('show')) {
        const all = [...namespaces[where].values()]
        if (!words.includes('dev')) return { stdout: JSON.stringify(all) }
        const link = namespaces[where].get(words.at(-1) ?? '')
        if (!link) return { status: 1, stderr: `Device "${words.at(-1)}" does not exist.\n` }
        return { stdout: JSON.stringify([link]) }
      }
      if (tool === 'tc' && words.includes('show')) return shown(words)
      if (!words.includes('-batch')) return undefined
      const errors: string[] = []
      for (const [index, line] of lines(stdin).entries()) {
        const parts = line.match(/"[^"]*"|\S+/g) ?? []
        const { status = 0, stderr = '' } = (tool === 'tc' ? changeTc(parts) : change(where, parts)) ?? {}
        if (status === 0) continue
        errors.push(`${stderr}Command failed -:${index + 1}\n`)
        if (!words.includes('-force')) break
      }
      return errors.length > 0 ? { status: 1, stderr: errors.join('') } : {}
    },
    things: () => [
      ...(['host', 'container', 'container2'] as const).flatMap((where) =>
        [...namespaces[where].values()].flatMap((link) => [
          `${where} link ${link.ifname} ${describe(link)}`,
          ...link['addr_info'].map(
            (one: { local: string; prefixlen: number }) =>
              `${where} address ${one.local}/${one.prefixlen} ${link.ifname}`,
          ),
        ]),
      ),
      // What the kernel makes with an address is told by that.
      ...routes
        .filter(({ words }) => words.includes('table') || !words.join(' ').includes(' proto 2'))
        .map(({ where, words }) => `${where} route ${words.join(' ')}`),
      ...rules.map(({ where, words }) => `${where} rule ${words.join(' ')}`),
      ...[...qdiscs].map(([place, { words }]) => `host qdisc ${place} ${words.join(' ')}`),
      ...[...redirects].map(([link, target]) => `host redirect ${link} ${target}`),
    ],
    remove: (thing) => {
      const [where = '', object, ...words] = thing.split(' ')
      const links = namespaces[where as Where]
      if (!links) return false
      if (object === 'link') return deleteLink(where as Where, links.get(words[0] ?? '') as Link) !== undefined
      if (object === 'address') {
        const link = links.get(words[1] ?? '') as Link
        link['addr_info'] = link['addr_info'].filter(
          (one: { local: string; prefixlen: number }) => `${one.local}/${one.prefixlen}` !== words[0],
        )
        return true
      }
      if (object === 'route') return dropped(routes, where as Where, words)?.status === undefined
      if (object === 'rule') return dropped(rules, where as Where, words)?.status === undefined
      if (object === 'qdisc') return qdiscs.delete(words.slice(0, 2).join(' '))
      return redirects.delete(words[0] ?? '')
    },
  }
}

/** A route's words without the name of the main table, which it is in anyway. */
function inMain(words: readonly string[]): string[] {
  return words.filter(
    (word, at) => !(word === 'table' && words[at + 1] === '254') && !(word === '254' && words[at - 1] === 'table'),
  )
}

function printedDestination(dst: string): string {
  return dst === '0.0.0.0/0' || dst === '::/0' ? 'default' : dst.replace(/\/(32|128)$/, '')
}

function describe({ flags, mtu, master, address, ifalias, linkinfo }: Link): string {
  return [[...flags].sort().join(), mtu, address, master, ifalias, linkinfo?.info_kind].filter(Boolean).join(' ')
}

// Tables, chains, rules, maps, sets and elements of nftables.

interface Collection {
  readonly kind: 'map' | 'set'
  readonly elements: Map<string, { comment?: string; value?: string }>
}

interface NftTable {
  readonly chains: Map<string, { hook: string; rules: { handle: number; text: string }[] }>
  readonly collections: Map<string, Collection>
}

function createNft(): Part & { readonly run: (words: readonly string[], stdin: string) => Told } {
  let tables = new Map<string, NftTable>()
  let next = 1
  const absent = { status: 1, stderr: 'Error: No such file or directory\n' }
  const elementsIn = (text: string) =>
    text
      .slice(text.indexOf('{') + 1, text.lastIndexOf('}'))
      .split(' , ')
      .flatMap((one) => one.split(', '))
      .map((one) => {
        const [left = '', value] = one.trim().split(' : ')
        const [key = '', comment] = left.split(' comment ')
        return { key, ...(comment === undefined ? {} : { comment: comment.slice(1, -1) }), ...(value ? { value } : {}) }
      })
  const isReferred = (table: NftTable, chain: string) =>
    [...table.chains.values()].some(({ rules }) => rules.some(({ text }) => text.includes(`jump ${chain}`))) ||
    [...table.collections.values()].some(({ elements }) =>
      [...elements.values()].some(({ value }) => value === `jump ${chain}`),
    )
  const command = (line: string): Told => {
    const [verb = '', object = '', family = '', name = '', of = '', ...rest] = line.split(' ')
    const place = `${family} ${name}`
    if (object === 'table' && verb === 'add') {
      if (!tables.has(place)) tables.set(place, { chains: new Map(), collections: new Map() })
      return {}
    }
    const table = tables.get(place)
    if (!table) return absent
    const chain = table.chains.get(of)
    const collection = table.collections.get(of)
    if (object === 'chain' && verb === 'add') {
      if (!chain) table.chains.set(of, { hook: rest.join(' '), rules: [] })
      return {}
    }
    if ((object === 'map' || object === 'set') && verb === 'add') {
      if (!collection) table.collections.set(of, { kind: object, elements: new Map() })
      return {}
    }
    if (object === 'element') return element(verb, collection, line)
    if (!chain) return absent
    if (object === 'chain' && verb === 'flush') {
      chain.rules.splice(0)
      return {}
    }
    if (object === 'chain' && verb === 'delete') {
      if (isReferred(table, of))
        return { status: 1, stderr: 'Error: Could not process rule: Device or resource busy\n' }
      table.chains.delete(of)
      return {}
    }
    if (object === 'rule' && verb === 'delete') {
      const at = chain.rules.findIndex(({ handle }) => String(handle) === rest[1])
      if (at < 0) return absent
      chain.rules.splice(at, 1)
      return {}
    }
    const rule = { handle: next++, text: rest.join(' ') }
    if (verb === 'insert') chain.rules.unshift(rule)
    else chain.rules.push(rule)
    return {}
  }
  const element = (
    verb: string,
    collection: { elements: Map<string, { comment?: string; value?: string }> } | undefined,
    line: string,
  ): Told => {
    if (!collection) return absent
    for (const { key, ...more } of elementsIn(line)) {
      const there = collection.elements.get(key)
      if (verb === 'delete' || verb === 'get') {
        if (!there) return absent
        if (verb === 'delete') collection.elements.delete(key)
      } else if (there && (verb === 'create' || there.value !== more.value)) {
        return { status: 1, stderr: 'Error: Could not process rule: File exists\n' }
      } else if (!there) collection.elements.set(key, more)
    }
    return {}
  }
  const collectionOf = (place: string, name: string): Collection => {
    const found = tables.get(place)?.collections.get(name)
    if (!found) throw new Error(`${place} has no ${name}`)
    return found
  }
  const text = (place: string, name: string, keys?: readonly string[]) => {
    const { kind, elements } = collectionOf(place, name)
    const listed = [...elements]
      .filter(([key]) => keys?.includes(key) ?? true)
      .map(
        ([key, { comment, value }]) => `${key}${comment ? ` comment "${comment}"` : ''}${value ? ` : ${value}` : ''}`,
      )
    const body = listed.length > 0 ? `\t\telements = { ${listed.join(',\n\t\t\t     ')} }\n` : ''
    return `table ${place} {\n\t${kind} ${name} {\n${body}\t}\n}\n`
  }
  const transaction = (stdin: string): Told => {
    const before = structuredClone(tables)
    const shown: string[] = []
    for (const line of lines(stdin)) {
      const outcome = command(line)
      if (outcome?.status) {
        tables = before
        return outcome
      }
      const [verb, , family, name, of = ''] = line.split(' ')
      if (verb === 'get')
        shown.push(
          text(
            `${family} ${name}`,
            of,
            elementsIn(line).map(({ key }) => key),
          ),
        )
    }
    return { stdout: shown.join('') }
  }
  const part = (word: string) => {
    const [first, last] = word.split('-')
    const isRange = last !== undefined && /^\d+-\d+$/.test(word)
    return isRange ? { range: [Number(first), Number(last)] } : word.replaceAll('"', '')
  }
  const keyJson = (key: string) => (key.includes(' . ') ? { concat: key.split(' . ').map(part) } : part(key))
  const collectionJson = (
    name: string,
    kind: 'map' | 'set',
    elements: Map<string, { comment?: string; value?: string }>,
  ) => {
    const elem = [...elements].map(([key, { comment, value }]) => {
      const one = comment === undefined ? keyJson(key) : { elem: { val: keyJson(key), comment } }
      return kind === 'map' ? [one, value] : one
    })
    return { [kind]: { name, elem } }
  }
  const ruleJson = (chain: string, { handle, text: rule }: { handle: number; text: string }) => {
    const comment = /comment "(.*)"/.exec(rule)?.[1]
    const target = /\bjump (\S+)/.exec(rule)?.[1]
    return { rule: { chain, handle, ...(comment ? { comment } : {}), expr: target ? [{ jump: { target } }] : [] } }
  }
  const list = (words: readonly string[]): Told => {
    const [object = '', family = '', name = '', of = ''] = words.slice(words.indexOf('list') + 1)
    const json = (all: readonly object[]) => ({ stdout: JSON.stringify({ nftables: all }) })
    if (object === 'tables') return json([...tables.keys()].map((one) => ({ table: placeJson(one) })))
    if (object === 'chains') {
      const all = [...tables].map(([place, { chains }]) => {
        const each = [...chains].map(([one, { hook }]) => {
          const [, type, , at, , priority] = hook.replaceAll(/[{}]/g, '').trim().split(' ')
          const policy = /policy (\w+)/.exec(hook)?.[1]
          return `\tchain ${one} {\n${type ? `\t\ttype ${type} hook ${at} priority ${priority}; policy ${policy};\n` : ''}\t}\n`
        })
        return `table ${place} {\n${each.join('')}}\n`
      })
      return { stdout: all.join('') }
    }
    const table = tables.get(`${family} ${name}`)
    if (!table) return absent
    if (object === 'map' || object === 'set') {
      const collection = table.collections.get(of)
      if (!collection) return absent
      return words.includes('-j')
        ? json([collectionJson(of, collection.kind, collection.elements)])
        : { stdout: text(`${family} ${name}`, of) }
    }
    const chains = [...table.chains].filter(([one]) => object === 'table' || one === of)
    if (object === 'chain' && chains.length === 0) return absent
    return json([
      ...chains.flatMap(([one, { rules }]) => rules.map((rule) => ruleJson(one, rule))),
      ...(object === 'table'
        ? [...table.collections].map(([one, { kind, elements }]) => collectionJson(one, kind, elements))
        : []),
    ])
  }
  return {
    save: () => {
      const saved = structuredClone(tables)
      return () => {
        tables = structuredClone(saved)
      }
    },
    run: (words, stdin) => (words.includes('list') ? list(words) : transaction(stdin)),
    things: () =>
      [...tables].flatMap(([place, { chains, collections }]) => [
        ...[...chains].flatMap(([name, { rules }]) => rules.map((rule) => `nft ${place} rule ${name} ${rule.text}`)),
        ...[...collections].flatMap(([name, { elements }]) =>
          [...elements].map(
            ([key, { comment, value }]) =>
              `nft ${place} element ${name} ${key}${comment ? ` "${comment}"` : ''}${value ? ` : ${value}` : ''}`,
          ),
        ),
      ]),
    remove: (thing) => {
      const [tool, family, name, object, of = '', ...rest] = thing.split(' ')
      const table = tool === 'nft' ? tables.get(`${family} ${name}`) : undefined
      if (!table) return false
      if (object === 'rule') {
        const rules = table.chains.get(of)?.rules ?? []
        rules.splice(
          rules.findIndex((one) => one.text === rest.join(' ')),
          1,
        )
        return true
      }
      const elements = table.collections.get(of)?.elements
      const key = [...(elements?.keys() ?? [])].find((one) => `${rest.join(' ')} `.startsWith(`${one} `)) ?? ''
      return elements?.delete(key) ?? false
    },
  }
}

function placeJson(place: string): { family: string; name: string } {
  const [family = '', name = ''] = place.split(' ')
  return { family, name }
}

// Tables of iptables.

function createTables(): Part & {
  readonly show: (tool: string, table: string) => Told
  readonly restore: (tool: string, stdin: string) => Told
} {
  const tables = new Map<string, { chains: Set<string>; rules: string[] }>()
  const builtIn = {
    filter: ['INPUT', 'FORWARD', 'OUTPUT'],
    nat: ['PREROUTING', 'OUTPUT', 'POSTROUTING'],
    raw: ['PREROUTING', 'OUTPUT'],
  }
  const of = (tool: string, table: string) => {
    const place = `${tool} ${table}`
    const there = tables.get(place) ?? { chains: new Set(builtIn[table as keyof typeof builtIn]), rules: [] }
    tables.set(place, there)
    return there
  }
  const refused = (tool: string) => ({
    status: 1,
    stderr: `${tool}-restore: line 2 failed: Bad rule (does a matching rule exist in that chain?).\n`,
  })
  return {
    save: () => {
      const saved = structuredClone(tables)
      return () => refill(tables, structuredClone(saved))
    },
    show: (tool, name) => {
      const { chains, rules } = of(tool, name)
      const heads = [...chains].map((chain) => `:${chain} ${chain.includes('-') ? '-' : 'ACCEPT'} [0:0]`)
      return { stdout: [`*${name}`, ...heads, ...rules.map((rule) => `-A ${rule}`), 'COMMIT', ''].join('\n') }
    },
    restore: (tool, stdin) => {
      const [first = '', ...rest] = lines(stdin)
      const there = of(tool, first.slice(1))
      const [chains, rules] = [new Set(there.chains), [...there.rules]]
      for (const line of rest.slice(0, -1)) {
        const [verb, chain = '', ...words] = line.split(' ')
        const rule = `${chain} ${savedWords(words[0] === '1' ? words.slice(1) : words)}`
        if (verb === '-N') {
          if (chains.has(chain)) return { status: 1, stderr: `${tool}-restore: Chain already exists.\n` }
          chains.add(chain)
          continue
        }
        if (!chains.has(chain)) return { status: 1, stderr: `${tool}-restore: No chain/target/match by that name.\n` }
        if (verb === '-A') rules.push(rule)
        if (verb === '-I')
          rules.splice(
            Math.max(
              0,
              rules.findIndex((one) => one.startsWith(`${chain} `)),
            ),
            0,
            rule,
          )
        if (verb === '-D') {
          if (!rules.includes(rule)) return refused(tool)
          rules.splice(rules.indexOf(rule), 1)
        }
        if (verb === '-F') rules.splice(0, rules.length, ...rules.filter((one) => !one.startsWith(`${chain} `)))
        if (verb === '-X') {
          if (rules.some((one) => one.endsWith(` -j ${chain}`)))
            return { status: 1, stderr: `${tool}-restore: Device or resource busy.\n` }
          chains.delete(chain)
        }
      }
      tables.set(`${tool} ${first.slice(1)}`, { chains, rules })
      return {}
    },
    things: () => [...tables].flatMap(([place, { rules }]) => rules.map((rule) => `${place} -A ${rule}`)),
    remove: (thing) => {
      const [tool, table, , ...rule] = thing.split(' ')
      const rules = tables.get(`${tool} ${table}`)?.rules
      if (!rules) return false
      return rules.splice(rules.indexOf(rule.join(' ')), 1).length > 0
    },
  }
}

// Sources of zones of firewalld, by busctl.

function createFirewalld(): Part & { readonly run: (words: readonly string[]) => Told } {
  const sources = new Set<string>()
  return {
    save: () => {
      const saved = [...sources]
      return () => {
        sources.clear()
        for (const one of saved) sources.add(one)
      }
    },
    run: (words) => {
      const [method = '', , zone, source] = words.slice(words.indexOf('call') + 4)
      const place = `${zone} ${source}`
      if (method === 'querySource') return { stdout: `b ${sources.has(place)}\n` }
      if (method === 'addSource' && sources.has(place)) return { status: 1, stderr: `ZONE_ALREADY_SET: '${source}'\n` }
      if (method === 'removeSource' && !sources.delete(place))
        return { status: 1, stderr: `UNKNOWN_SOURCE: '${source}'\n` }
      if (method === 'addSource') sources.add(place)
      return { stdout: 's "trusted"\n' }
    },
    things: () => [...sources].map((one) => `firewalld ${one}`),
    remove: (thing) => sources.delete(thing.replace('firewalld ', '')),
  }
}

// Settings of containers, of those that were there before or are written.

function createSettings(given: Readonly<Record<string, string>>): Part & {
  readonly show: (where: Where, words: readonly string[]) => Told
  readonly write: (where: Where, assignments: readonly string[]) => void
} {
  const places = ['container', 'container2'] as const
  const all = new Map(
    places.flatMap((where) => Object.entries(given).map(([path, value]) => [`${where} ${path}`, value])),
  )
  return {
    save: () => {
      const saved = new Map(all)
      return () => refill(all, saved)
    },
    show: (where, words) => ({
      stdout: words
        .map((file) => file.replace('/proc/sys/', ''))
        .flatMap((path) => (all.has(`${where} ${path}`) ? [`/proc/sys/${path}:${all.get(`${where} ${path}`)}\n`] : []))
        .join(''),
    }),
    // Of others nobody asks.
    write: (where, assignments) => {
      for (const one of assignments) {
        const [path = '', value = ''] = one.slice(1).split('=')
        if (path in given) all.set(`${where} ${path}`, value)
      }
    },
    things: () => [...all].map(([place, value]) => `setting ${place} ${value}`),
    remove: (thing) => {
      const [object, where, path = ''] = thing.split(' ')
      if (object !== 'setting') return false
      all.set(`${where} ${path}`, 'changed')
      return true
    },
  }
}

/** Words as iptables-save has them: addresses with their lengths, ports in the plural's short form. */
function savedWords(words: readonly string[]): string {
  return words
    .map((word, at) => {
      if (word === '--destination-ports') return '--dports'
      if (words[at - 1] !== '-s' && words[at - 1] !== '-d') return word
      const cidr = parseCidr(word.includes('/') ? word : `${word}/${word.includes(':') ? 128 : 32}`)
      return cidr ? formatCidr(networkOf(cidr)) : word
    })
    .join(' ')
}
