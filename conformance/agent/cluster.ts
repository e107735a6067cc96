import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Container } from '../harness/container.js'
import type { Host } from '../harness/host.js'
import { cnitool, commandPath, nodeCommand, repository, suites } from '../harness/locations.js'
import { type Finished, type ProcessOptions, type Started, succeed } from '../harness/process.js'

const token = 'token-of-a-test'

export interface ToldEvent {
  readonly reason: string
  readonly message: string
  readonly count: number
  readonly involvedObject: { readonly name: string; readonly kind: string }
}

export interface Shown {
  readonly events: readonly ToldEvent[]
  readonly patches: readonly { readonly path: string; readonly type: string; readonly body: unknown }[]
  /** How many requests of each kind there were. */
  readonly asked: Readonly<Record<string, number>>
  /** Bytes that the answers had, without headers. */
  readonly sent: Readonly<Record<string, number>>
  readonly watchers: number
}

/** A process of a test that stands for another program: each line of JSON it gets, it answers by one. */
class Stand {
  readonly #answers: string[] = []
  readonly #waiting: ((line: string) => void)[] = []
  readonly started: Started

  private constructor(started: Started) {
    this.started = started
    const { stdout } = started.child
    if (!stdout) throw new Error('it has no output')
    createInterface(stdout).on('line', (line) => {
      const waiting = this.#waiting.shift()
      if (waiting) waiting(line)
      else this.#answers.push(line)
    })
  }

  /** @param file its source, which is not there where it runs */
  static async start(place: Host | Container, file: string, words: readonly string[]): Promise<Stand> {
    const source = readFileSync(join(repository, 'conformance/agent', file), 'utf8')
    const argv = [...nodeCommand, '--input-type=module-typescript', '--eval', source, '--', ...words]
    const stand = new Stand(place.start(argv, { keepOpen: true, deadline: 600_000 }))
    await Promise.race([
      stand.#answer(),
      stand.started.finished.then(({ stderr }) => {
        throw new Error(`${file} does not start: ${stderr}`)
      }),
    ])
    return stand
  }

  async tell(value: unknown): Promise<unknown> {
    this.started.child.stdin?.write(`${JSON.stringify(value)}\n`)
    return JSON.parse(await this.#answer())
  }

  /** Ends it, as a crash does. */
  async kill(): Promise<void> {
    this.started.child.kill('SIGKILL')
    await this.started.finished
  }

  #answer(): Promise<string> {
    const line = this.#answers.shift()
    return line === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(line)
  }
}

/** A runtime that says which sandboxes it has (cri-server.ts), at a path of the test's host. */
export class Runtime {
  readonly #stand: Stand

  private constructor(stand: Stand) {
    this.#stand = stand
  }

  /** @param ids its sandboxes from the first moment on: the agent asks as soon as it listens */
  static async start(place: Host | Container, socket: string, ids: readonly string[] = []): Promise<Runtime> {
    return new Runtime(await Stand.start(place, 'cri-server.ts', [socket, ...ids]))
  }

  /** What its sandboxes are from now on, by their IDs. */
  async has(ids: readonly string[]): Promise<void> {
    await this.#stand.tell(ids)
  }

  async kill(): Promise<void> {
    await this.#stand.kill()
  }
}

/** The simulated API server, at 172.20.255.1:6443 of a cluster's link (api-server.ts). */
export class ApiServer {
  readonly #stand: Stand

  private constructor(stand: Stand) {
    this.#stand = stand
  }

  static async start(host: Host, tls: readonly string[] = []): Promise<ApiServer> {
    return new ApiServer(await Stand.start(host, 'api-server.ts', ['172.20.255.1', '6443', token, ...tls]))
  }

  async order(what: string, details: object = {}): Promise<unknown> {
    return await this.#stand.tell({ do: what, ...details })
  }

  async show(): Promise<Shown> {
    return (await this.order('show')) as Shown
  }

  /** Ends it, as a crash does. */
  async kill(): Promise<void> {
    await this.#stand.kill()
  }
}

/** One link of a test host, on which nodes and the API server are. */
export class Cluster {
  readonly host: Host
  api: ApiServer
  readonly nodes = new Map<string, ClusterMember>()
  readonly #tls: readonly string[]

  private constructor(host: Host, api: ApiServer, tls: readonly string[]) {
    this.host = host
    this.api = api
    this.#tls = tls
  }

  static async create(host: Host): Promise<Cluster> {
    await host.output(['ip', '-batch', '-'], {
      stdin: [
        'link add lan type bridge',
        'addr add 172.20.255.1/16 dev lan',
        'addr add fd30::ffff/64 dev lan nodad',
        'link set lan up',
        '',
      ].join('\n'),
    })
    const folder = '/run/account'
    mkdirSync(host.path(folder))
    const [certificate, key] = [`${folder}/ca.crt`, '/run/key']
    const subject = ['-subj', '/CN=api', '-addext', 'subjectAltName=IP:172.20.255.1']
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    await host.output(['openssl', 'req', ...kind, ...subject, '-keyout', key, '-out', certificate])
    writeFileSync(host.path(`${folder}/token`), token)
    writeFileSync(host.path(`${folder}/namespace`), 'kube-system')
    const tls = [certificate, key]
    return new Cluster(host, await ApiServer.start(host, tls), tls)
  }

  /** The API server again, which knows of nothing. */
  async restartApi(): Promise<void> {
    this.api = await ApiServer.start(this.host, this.#tls)
  }

  /** A node on the link, at 172.20.0.NUMBER and fd30::NUMBER, which the API server knows. */
  async node(number: number, podCIDRs = usualRanges(number)): Promise<ClusterMember> {
    const name = `node${number}`
    await this.host.output(['ip', 'netns', 'add', name])
    const member = new ClusterMember(this, number, new Container(this.host, name))
    const { v4, v6 } = member
    await this.host.output(['ip', '-batch', '-'], {
      stdin: `link add to${number} type veth peer name uplink netns ${name}\nlink set to${number} master lan up\n`,
    })
    await member.place.batch([
      'link set lo up',
      `addr add ${v4}/16 dev uplink`,
      `addr add ${v6}/64 dev uplink nodad`,
      'link set uplink up',
      'route add default via 172.20.255.1',
      'route add default via fd30::ffff',
    ])
    for (const folder of ['etc/cni/net.d', 'opt/cni', 'proc/sys', 'var/lib']) {
      mkdirSync(this.host.path(`${member.root}/${folder}`), { recursive: true })
    }
    await this.host.output(['mount', '--bind', '/proc/sys', `${member.root}/proc/sys`])
    await this.host.output(['mkdir', `${member.root}/opt/cni/bin`])
    await this.host.output(['mount', '--bind', suites.podwire, `${member.root}/opt/cni/bin`])
    this.nodes.set(name, member)
    await this.tell(member, podCIDRs)
    return member
  }

  /** What the API server says of a node. */
  async tell(member: ClusterMember, podCIDRs: readonly string[], more: object = {}): Promise<void> {
    const { name, v4, v6 } = member
    await this.api.order('node', { name, podCIDRs, addresses: [v4, v6], ...more })
  }
}

/** An address without its prefix length. */
export function hostOf(address: string): string {
  return address.split('/')[0] ?? ''
}

export function usualRanges(number: number): readonly string[] {
  return [`10.244.${number}.0/24`, `fd44:0:0:${number}::/64`]
}

/** A node: a network namespace, and a root of its own for what the agent writes. */
export class ClusterMember {
  readonly cluster: Cluster
  readonly place: Container
  readonly name: string
  readonly v4: string
  readonly v6: string
  readonly root: string

  constructor(cluster: Cluster, number: number, place: Container) {
    this.cluster = cluster
    this.place = place
    this.name = place.name
    this.v4 = `172.20.0.${number}`
    this.v6 = `fd30::${number}`
    this.root = `/run/roots/${place.name}`
  }

  /** Starts the agent as the manifest does, but for the folders; `around` is the start of a command line. */
  agent(options: readonly string[] = [], around: readonly string[] = []): Started {
    const binary = `${suites.podwire}/podwire`
    const words = ['agent', '--node', this.name, '--root', this.root, '--server', '172.20.255.1:6443']
    const more = ['--service-account', '/run/account', '--listen', '127.0.0.1:9117', '--every', '2', ...options]
    return this.place.start([...around, binary, ...words, ...more], { deadline: 600_000 })
  }

  /** Runs the agent to its end, with other words. */
  async agentOnce(options: readonly string[]): Promise<Finished> {
    return await this.agent(options).finished
  }

  /** Shows the agent a folder of the test's host, which plugins write to. @returns what takes it away again */
  async show(folder: string): Promise<() => Promise<unknown>> {
    const { host } = this.cluster
    const shown = `${this.root}${folder}`
    await host.output(['mkdir', '-p', folder, shown])
    await host.output(['mount', '--bind', folder, shown])
    return () => host.output(['umount', shown])
  }

  get conflist(): string | undefined {
    const file = this.cluster.host.path(`${this.root}/etc/cni/net.d/10-podwire.conflist`)
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined
  }

  /** The routes of the agent, of both families, as `ip` shows them. */
  async routes(): Promise<readonly string[]> {
    const shown = await Promise.all(
      ['-4', '-6'].map((family) => this.place.output(['ip', family, 'route', 'show', 'proto', '117'])),
    )
    return shown
      .join('\n')
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean)
  }

  /** The agent's table of a family, as `nft` shows it; "" where there is none. */
  async table(family: 'ip' | 'ip6'): Promise<string> {
    return (await this.place.exec(['nft', 'list', 'table', family, 'podwire-agent'])).stdout
  }

  async get(path: string, address = '127.0.0.1'): Promise<Finished> {
    const url = `http://${address}:9117${path}`
    return await this.place.exec([...nodeCommand, '--input-type=module', '--eval', getter, '--', url])
  }

  /** Attaches or detaches a pod with the node's own configuration, by the official client and a suite's plugins. */
  async pod(verb: 'add' | 'check' | 'del', pod: Container, { network = 'podwire', bin = suites.podwire } = {}) {
    const env = {
      PATH: commandPath,
      NETCONFPATH: `${this.root}/etc/cni/net.d`,
      CNI_PATH: bin,
      CNI_IFNAME: 'eth0',
    }
    const argv = [cnitool, verb, network, pod.netns]
    return succeed(argv, await this.place.exec(argv, { env } satisfies ProcessOptions))
  }
}

// --- internal

const getter = `
const answer = await fetch(process.argv[1])
process.stdout.write(await answer.text())
process.exitCode = answer.ok ? 0 : 1
`
