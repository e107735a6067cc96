/**
 * The host as the recorded calls expect it: namespaces at the recorded kinds of path, and the links that configurations
 * name.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { isObject, type Json, type RecordedCall } from './samples.js'
import { interfacesOf } from './substitution.js'

/** Runs a command of the system and returns its output; throws with its complaint. */
export function command(program: string, ...parameters: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, parameters, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${parameters.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

const isLink = (name: string) => spawnSync('ip', ['link', 'show', name]).status === 0

/** Removes a link; one whose other end's namespace is ending goes by itself. */
function removeLink(name: string): void {
  if (!isLink(name)) return
  try {
    command('ip', 'link', 'delete', name)
  } catch (error) {
    if (isLink(name)) throw error
  }
}

/** A namespace made for one recorded path: the path it has now, and how it ends. */
type Namespace = { containerID: string; path: string; end: () => void }

/** A namespace kept by a file, as `ip netns` and containerd make them. */
function pinnedNamespace(path: string): () => void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, '')
  command('unshare', `--net=${path}`, 'true')
  return () => {
    command('umount', '--lazy', path)
    rmSync(path)
  }
}

/** Starts a process that waits to be killed; resolves when it runs. Descriptors are what it has open beyond 0, 1, 2. */
async function startHolder(program: string[], descriptors: (number | 'ignore')[] = []): Promise<ChildProcess> {
  const [name = '', ...parameters] = [...program, 'sh', '-c', 'echo ready; exec sleep infinity']
  const holder = spawn(name, parameters, { stdio: ['ignore', 'pipe', 'inherit', ...descriptors] })
  await new Promise((resolve, reject) => {
    holder.stdout?.once('data', resolve)
    holder.once('error', reject)
    holder.once('exit', (status) => reject(new Error(`${program.join(' ')} ended with ${status}`)))
  })
  return holder
}

/** Makes namespaces when a call first names them and ends them when the client no longer does. */
export class Stage {
  readonly #namespaces = new Map<string, Namespace>()
  /** The network each bridge was last used by. */
  readonly #networks = new Map<string, string>()
  #made = 0

  /** The path that stands for the recorded one in this call. A path met with another container is a new namespace. */
  async namespaceFor(call: RecordedCall): Promise<string> {
    const known = this.#namespaces.get(call.netns)
    if (known?.containerID === call.id) return known.path
    known?.end()
    const made = { containerID: call.id, ...(await this.#make(call.netns)) }
    this.#namespaces.set(call.netns, made)
    return made.path
  }

  async #make(recorded: string): Promise<Omit<Namespace, 'containerID'>> {
    const [, kind, descriptor] = /^\/proc\/\d+\/(ns\/net|fd\/(\d+))$/.exec(recorded) ?? []
    if (kind === undefined) return { path: recorded, end: pinnedNamespace(recorded) }
    if (descriptor === undefined) {
      const holder = await startHolder(['unshare', '--net'])
      return { path: `/proc/${holder.pid}/ns/net`, end: () => holder.kill('SIGKILL') }
    }
    const pin = `/run/netns/descriptor-${++this.#made}`
    const end = pinnedNamespace(pin)
    const between = Array<'ignore'>(Number(descriptor) - 3).fill('ignore')
    const opened = openSync(pin, 'r')
    const holder = await startHolder([], [...between, opened])
    closeSync(opened)
    const endAll = () => {
      holder.kill('SIGKILL')
      end()
    }
    return { path: `/proc/${holder.pid}/fd/${descriptor}`, end: endAll }
  }

  /** Ends the container's namespaces: a client that names none any more has let it go. */
  endNamespacesOf(containerID: string): void {
    for (const [recorded, namespace] of this.#namespaces) {
      if (namespace.containerID !== containerID) continue
      namespace.end()
      this.#namespaces.delete(recorded)
    }
  }

  /**
   * Deletes the bridge if another network had it before: podman does so with a network, and gives the name to the next.
   */
  renewBridge({ stdin }: RecordedCall): void {
    const bridge = stdin['bridge']
    if (typeof bridge !== 'string') return
    const network = JSON.stringify([stdin['name'], stdin['ipam']])
    const before = this.#networks.get(bridge)
    this.#networks.set(bridge, network)
    if (before !== undefined && before !== network) command('ip', 'link', 'delete', bridge)
  }

  /** Makes the device that a configuration moves, or puts a link on, unless it is there. */
  provideDevice(device: Json | undefined): void {
    if (typeof device !== 'string' || device === '' || isLink(device)) return
    const peer = `${device}-peer`
    command('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', peer)
    for (const end of [device, peer]) command('ip', 'link', 'set', end, 'up')
  }

  /**
   * Makes what the plugin made that is first in the list and not replayed, as its result has it: a pair of links with
   * its end in the host, addresses inside, routes to them.
   */
  provideAttachment({ ifname, stdin }: RecordedCall, netns: string): void {
    const { prevResult } = stdin
    const [end] = interfacesOf(prevResult ?? null)
    const name = String(end?.['name'])
    removeLink(name)
    command('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', ifname, 'netns', netns)
    command('ip', 'link', 'set', name, 'up')
    command('nsenter', `--net=${netns}`, 'ip', 'link', 'set', ifname, 'up')
    const ips = isObject(prevResult) && Array.isArray(prevResult['ips']) ? prevResult['ips'].filter(isObject) : []
    for (const { address } of ips) {
      const more = String(address).includes(':') ? ['nodad'] : []
      command('nsenter', `--net=${netns}`, 'ip', 'address', 'add', String(address), 'dev', ifname, ...more)
      command('ip', 'route', 'replace', String(address), 'dev', name)
    }
  }

  /** Ends every namespace. */
  end(): void {
    for (const namespace of this.#namespaces.values()) namespace.end()
    this.#namespaces.clear()
  }
}
