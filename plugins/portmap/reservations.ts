import { readdirSync, statSync } from 'node:fs'
import { cgroupsOf, commandOf, holdersOf, ifThere, openFiles, parentOf } from '../../shared/tools/processes.js'
import type { Attachment } from '../../shared/values/attachment.js'

/** A process that has a socket open. */
export interface Holder {
  readonly pid: string
  readonly command: string
}

export interface Holding {
  /** One of the processes that have it open, one that reserves nothing if any is; undefined when all ended, or hide. */
  readonly holder: Holder | undefined
  /** Whether it only keeps the port for the very container that is being attached. */
  readonly isReservation: boolean
}

/**
 * Who has each of these sockets (inodes) open. A runtime may hold a container's ports itself, so that nobody else takes
 * them:
 * - podman's conmon, which names the container in its command line;
 * - nerdctl's hook, which executes us, together with a child that inherits the socket (its copy may be closed where the
 *   child is the usual `sleep infinity`). After containerd went down the hook runs again, and the old child is
 *   nobody's.
 *
 * What the process that executed us holds alone is its own service, and what process 1 or any other process has a share
 * in is theirs.
 */
export function holdings(attachment: Attachment, inodes: ReadonlySet<string>): ReadonlyMap<string, Holding> {
  const all = holdersOf(inodes)
  const ancestors = ancestorsOf('self')
  const found = new Map<string, Holder & { role: Role }>()
  const look = (pid: string) => {
    const command = commandOf(pid)
    const known = found.get(pid) ?? { pid, command, role: roleOf(attachment, { pid, command }, ancestors) }
    found.set(pid, known)
    return known
  }
  return new Map(
    [...inodes].map((inode) => {
      const holders = (all.get(inode) ?? []).map(look)
      const has = (wanted: Role) => holders.some(({ role }) => role === wanted)
      const isReservation = !has('other') && (has('reserver') || (has('caller') && has('child')))
      return [inode, { holder: holders.find(({ role }) => role === 'other') ?? holders[0], isReservation }]
    }),
  )
}

// --- internal

/** A reserver may hold a port for the container by itself, a child of the caller's together with the caller. */
type Role = 'other' | 'caller' | 'child' | 'reserver'

function roleOf({ containerID }: Attachment, { pid, command }: Holder, ancestors: readonly string[]): Role {
  const [caller] = ancestors
  if (pid === init) return 'other'
  if (ancestors.includes(pid)) return pid === caller ? 'caller' : 'other'
  if (names(command, containerID)) return 'reserver'
  const parent = parentOf(pid)
  if (parent === init) return isReserverLeftBehind(containerID, { pid, command }, caller) ? 'reserver' : 'other'
  if (caller === undefined || parent !== caller) return 'other'
  return sleepsForever(command) ? 'reserver' : 'child'
}

function isReserverLeftBehind(containerID: string, { pid, command }: Holder, caller: string | undefined): boolean {
  return sleepsForever(command) && cgroupsOf(pid) === cgroupsOf('self') && isKnownToNerdctl(containerID, caller)
}

/** The one that executed us first, process 1 or who was started from outside of the pid namespace last. */
function ancestorsOf(pid: string): readonly string[] {
  const ancestors: string[] = []
  for (let parent = parentOf(pid); isSeen(parent) && !ancestors.includes(parent); parent = parentOf(parent)) {
    ancestors.push(parent)
  }
  return ancestors
}

/** The parent of what was started from outside of the pid namespace is 0. */
function isSeen(pid: string): boolean {
  return pid !== '' && pid !== '0'
}

/** Process 1, which is the parent of every service, and of whom nobody else is. */
const init = '1'

/** Whether the ID is a whole word of the command line, or a part of a path in it. */
function names(command: string, containerID: string): boolean {
  return command.split(/[^\w.-]+/).includes(containerID)
}

function sleepsForever(command: string): boolean {
  const [program = '', ...rest] = command.split(' ')
  return program.slice(program.lastIndexOf('/') + 1) === 'sleep' && rest.join(' ') === 'infinity'
}

/**
 * nerdctl's containers are called NAMESPACE-ID here. Its state of one lies in DATA-ROOT/HASH/containers/NAMESPACE/ID,
 * where the hook that executes us has its log open, too: so another data root is found.
 */
function isKnownToNerdctl(containerID: string, caller: string | undefined): boolean {
  const dash = containerID.lastIndexOf('-')
  const [namespace, id] = [containerID.slice(0, Math.max(dash, 0)), containerID.slice(dash + 1)]
  if (namespace === '' || id === '' || id.startsWith('.')) return false
  const state = `/containers/${namespace}/${id}`
  const hashes = ifThere(() => readdirSync(dataRoot), [])
  const isDirectory = (path: string) => ifThere(() => statSync(path).isDirectory(), false)
  return (
    hashes.some((hash) => isDirectory(`${dataRoot}/${hash}${state}`)) ||
    (caller !== undefined && openFiles(caller).some((path) => path.endsWith(`${state}/oci-hook.createRuntime.log`)))
  )
}

const dataRoot = '/var/lib/nerdctl'
