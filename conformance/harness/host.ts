import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { RecordedCall } from './calls.js'
import { Container } from './container.js'
import { systemCommand } from './locations.js'
import { type Finished, killTree, type ProcessOptions, type Started, start, succeed, until } from './process.js'

// /run and /var/lib become private and empty, so that leases, caches, locks and named namespaces of one host are seen
// by nobody else and vanish with it; the rest of the disk is read-only, so that whoever writes elsewhere is found out.
// /sys must show the devices of this network namespace. The script lives until its standard input closes: when the test
// process dies, however it dies, the kernel takes everything away.
const holderScript = `
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t sysfs sysfs /sys
mount -o remount,bind,ro /
ip link set lo up
echo ready
exec cat
`

export interface Outside {
  container: Container
  /** Addresses of the outside machine and of the host's end of the cable, each with its prefix length. */
  addresses: { v4: string; v6: string; hostV4: string; hostV6: string }
}

/** A throw-away machine: a network and a mount namespace of its own, with containers and an outside world on demand. */
export class Host {
  readonly containers: Container[] = []
  /** The calls of podwire's plugins that were made in it, each kind once. */
  readonly calls: RecordedCall[] = []
  readonly #started = new Set<Started>()
  readonly #holder: Started
  #made = 0

  private constructor(holder: Started) {
    this.#holder = holder
  }

  /** Makes a host; dispose() it, or use the `host` fixture, which does. */
  static async create(): Promise<Host> {
    const unshare = [systemCommand('unshare'), '--net', '--mount', '--propagation', 'private', '--']
    const holder = start([...unshare, systemCommand('sh'), '-c', holderScript], { deadline: 600_000, keepOpen: true })
    await new Promise<void>((resolve, reject) => {
      holder.child.stdout?.once('data', () => resolve())
      holder.finished.then(({ stderr }) => reject(new Error(`cannot make a test host: ${stderr}`)), reject)
    })
    return new Host(holder)
  }

  /** The process whose namespaces this host is. */
  get pid(): number {
    const { pid } = this.#holder.child
    if (pid === undefined) throw new Error('the host never started')
    return pid
  }

  /** A path of the host as this process can open it, for reading state without starting a command. */
  path(inside: string): string {
    return join(`/proc/${this.pid}/root`, inside)
  }

  /** Starts a command in the host's network and mount namespaces (or in another network namespace of the host). */
  start(argv: readonly string[], options: ProcessOptions = {}, network = `/proc/${this.pid}/ns/net`): Started {
    const enter = [systemCommand('nsenter'), `--net=${network}`, `--mount=/proc/${this.pid}/ns/mnt`, '--']
    const started = start([...enter, ...argv], options)
    this.#started.add(started)
    const forget = () => this.#started.delete(started)
    started.finished.then(forget, forget)
    return started
  }

  /** Runs a command in the host to its end, whatever its exit status. */
  exec(argv: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
    return this.start(argv, options).finished
  }

  /** Runs a command that must succeed and returns what it printed. */
  async output(argv: readonly string[], options: ProcessOptions = {}): Promise<string> {
    return succeed(argv, await this.exec(argv, options))
  }

  /** Makes a container: a named network namespace with loopback up, as a runtime prepares it. */
  async container(name = `container${this.#made++}`): Promise<Container> {
    await this.output(['ip', 'netns', 'add', name])
    const container = new Container(this, name)
    await container.output(['ip', 'link', 'set', 'lo', 'up'])
    this.containers.push(container)
    return container
  }

  /** Makes the machine at the other end of the host's uplink; the host's default routes point to it. */
  async outside(): Promise<Outside> {
    const container = new Container(this, 'outside')
    const addresses = { v4: '192.0.2.2/24', v6: '2001:db8:f::2/64', hostV4: '192.0.2.1/24', hostV6: '2001:db8:f::1/64' }
    await this.output(['ip', 'netns', 'add', 'outside'])
    await this.#batch([
      'link add uplink type veth peer name eth0 netns outside',
      `addr add ${addresses.hostV4} dev uplink`,
      `addr add ${addresses.hostV6} dev uplink nodad`,
      'link set uplink up',
    ])
    await container.batch([
      'link set lo up',
      `addr add ${addresses.v4} dev eth0`,
      `addr add ${addresses.v6} dev eth0 nodad`,
      'link set eth0 up',
    ])
    await this.#batch(['route add default via 192.0.2.2', 'route add default via 2001:db8:f::2'])
    return { container, addresses }
  }

  async #batch(commands: readonly string[]): Promise<void> {
    await this.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
  }

  /** Processes other than the holder that live in a network namespace of this host, as "pid command". */
  processes(): string[] {
    const networks = new Set([`/proc/${this.pid}/ns/net`, ...this.#namedNetworks()].map((path) => statSync(path).ino))
    return readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== this.pid && networks.has(networkOf(entry)))
      .map((pid) => `${pid} ${commandLine(pid)}`)
  }

  #namedNetworks(): string[] {
    return readdirSync(this.path('/run/netns')).map((name) => this.path(`/run/netns/${name}`))
  }

  /**
   * Ends the host and all that lives in it. Throws when a command left a process running behind it; what a test that
   * failed half-way did not wait for is only ended.
   */
  async dispose(): Promise<void> {
    const started = [...this.#started]
    // A command has been given all its input, a server's stays open until it shall end.
    const interrupted = started.some(({ child }) => child.stdin?.writableEnded !== false)
    // What a server started may close the server's output first, and end a moment later.
    const killed = started.flatMap(({ child }) => killTree(child)).map(({ pid }) => pid)
    await Promise.allSettled(started.map(({ finished }) => finished))
    const ofServers = (line: string) => killed.includes(Number.parseInt(line, 10))
    await until('what was killed is gone', () => !this.processes().some(ofServers))
    const left = this.processes()
    for (const line of left) killProcess(Number.parseInt(line, 10))
    this.#holder.child.stdin?.end()
    await this.#holder.finished
    if (left.length > 0 && !interrupted) throw new Error(`left running in the test host:\n${left.join('\n')}`)
  }

  /** Resolves when no command of any kind is running in the host any more, for instance after a kill. */
  async quiet(): Promise<void> {
    await until('nothing runs in the test host', () => this.processes().length === 0)
  }
}

// A process may end between being listed and being looked at, or be one that even root may not trace (this machine's
// init): then it is none of ours, which is an answer.
function networkOf(pid: string): number {
  return Number(ifThere(() => /\d+/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[0]) ?? -1)
}

function commandLine(pid: string): string {
  return ifThere(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()) ?? 'ended'
}

function killProcess(pid: number): void {
  ifThere(() => process.kill(pid, 'SIGKILL'))
}

function ifThere<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined
    throw error
  }
}
