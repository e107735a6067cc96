import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** A network namespace that stands for a container's. */
export interface Stand {
  readonly path: string
  /** Whether it is an empty one: without the right to make one it is the own. */
  readonly isEmpty: boolean
  /** Makes a link in it that looks like what an ADD would have made, for the plugins that come later. */
  readonly hold: (link: HeldLink) => void
  readonly end: () => void
}

export interface HeldLink {
  readonly name: string
  readonly mac?: string
  readonly addresses: readonly string[]
}

/** A namespace that is somebody's: nothing is made in it. */
export function standOf(path: string): Stand {
  return { path, isEmpty: true, hold: () => undefined, end: () => undefined }
}

/** An empty namespace that lasts until `end`; the own one where this user may make none. */
export async function standIn(): Promise<Stand> {
  const own = { ...standOf('/proc/self/ns/net'), isEmpty: false }
  if (process.getuid?.() !== 0) return own
  // It ends with this program, which holds the other end of its standard input.
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo; read -r line'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const isMade = await new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false)).once('exit', () => resolve(false))
    child.stdout.once('data', () => resolve(true))
  })
  const path = `/proc/${child.pid}/ns/net`
  if (!isMade || !existsSync(path)) return own
  // A program that ends early is not in the way of this one's end.
  child.stdin.on('error', () => undefined)
  return { path, isEmpty: true, hold: (link) => hold(path, link), end: () => void child.stdin.end() }
}

// --- internal

/** What `ip` refuses is left out: the plugin that looks for it then says what it misses. */
function hold(netns: string, { name, mac, addresses }: HeldLink): void {
  const made = [
    'link',
    'add',
    'name',
    name,
    ...(mac ? ['address', mac] : []),
    'type',
    'veth',
    'peer',
    'name',
    'podwire-peer',
  ]
  const added = addresses.map((address) => ['addr', 'add', address, 'dev', name])
  for (const words of [
    made,
    ['link', 'set', 'dev', 'podwire-peer', 'up'],
    ['link', 'set', 'dev', name, 'up'],
    ...added,
  ]) {
    spawnSync('nsenter', [`--net=${netns}`, 'ip', ...words], { stdio: 'ignore' })
  }
}
