import { accessSync, constants, existsSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { stateRoot } from '../../shared/exec/state.js'
import { loadLibc } from '../../shared/system/libc.js'
import { errnoOf, messageOf } from '../../shared/values/errno.js'
import { inRoot, linkTarget, placeOf } from '../frame/place.js'
import { garbageOn, takeGarbage } from '../node/garbage.js'
import { ownKernel } from '../node/kernel.js'
import { readNode } from '../node/node.js'
import { FileReader, textIn } from '../node/reader.js'
import { removeEmpty } from '../node/release.js'
import { criSandboxes } from '../node/sockets/cri.js'
import type { Collecting, GarbageLook } from './collector.js'

// What the agent's `gc` needs of the node, from inside a container: it has to see what the runtime sees, or nothing is
// proven. A process that listens on a socket shows its number only to who is in its PID namespace or above, and then so
// do all that it has started, in whatever namespace.

/** Where runtimes listen that kubelets use, unless the configuration says where. */
const usualSockets = ['/run/containerd/containerd.sock', '/run/crio/crio.sock', '/run/k3s/containerd/containerd.sock']

const manifest = 'apply deploy/gc.yaml, which gives the agent what gc needs'

export interface RuntimeOptions {
  /** The path of the runtime's socket on the node; absent: those of `usualSockets` that are there. */
  readonly socket: () => string | undefined
  /** Where the node's root is. */
  readonly root: string
  /** Of the plugins and of configurations, as this process has them. */
  readonly bin: string
  readonly conf: string
  readonly warn: (text: string) => void
}

/** The means of the collector on this node. */
export function meansOf({ socket, root, bin, conf, warn }: RuntimeOptions): Pick<Collecting, 'look' | 'take'> {
  return {
    look: async (): Promise<GarbageLook> => {
      const { sandboxes, peers } = await sandboxesKnown(socket(), root)
      const kernel = ownKernel()
      const node = readNode(new FileReader(placeOf({ bin, conf })), kernel)
      const why = peers.map((peer) => whyOther(`/proc/${peer}/root`, node.dataDirs)).find((one) => one !== undefined)
      if (why !== undefined) throw new Error(`${why}: ${manifest}`)
      const unproven = kernel.namespaces().isComplete
        ? undefined
        : `some network namespaces of the node cannot be looked at, so nothing is proven: ${manifest}`
      return { sandboxes, garbage: garbageOn(node, kernel), unproven }
    },
    take: async ({ all, empty }) => {
      const taken = await takeGarbage(all, { bin, warn })
      removeEmpty(empty, warn)
      return taken
    },
  }
}

/** @throws Error where one does not tell, or this process does not see what it sees */
async function sandboxesKnown(given: string | undefined, root: string) {
  const there = given === undefined ? usualSockets.filter((one) => existsSync(inRoot(placeOf({ root }), one))) : [given]
  if (there.length === 0) {
    const isSeen = existsSync(root)
    throw new Error(isSeen ? noSocket : `the node's own root (${root}) is not seen from here: ${manifest}`)
  }
  const [sandboxes, peers]: [Set<string>, number[]] = [new Set(), []]
  for (const socket of there) {
    const { peer, ids } = await sandboxesAt(socket, root)
    peers.push(peer)
    for (const id of ids) sandboxes.add(id)
  }
  return { sandboxes, peers }
}

const orSocket = `${manifest}, or say by gcSocket where the runtime listens`
const noSocket = `no runtime listens where they do (${usualSockets.join(', ')}): ${orSocket}`

/** Milliseconds that a runtime has. */
const patience = 5000

async function sandboxesAt(socket: string, root: string): Promise<{ peer: number; ids: readonly string[] }> {
  let peer = 0
  let why: string | undefined = 'who listens there does not show'
  try {
    const all = await criSandboxes(inRoot(placeOf({ root }), socket), AbortSignal.timeout(patience), (connection) => {
      try {
        const listening = peerOf(connection)
        if (listening === undefined) return
        peer = listening
        why = whyUnproven(peer)
      } catch (thrown) {
        why = messageOf(thrown)
      }
    })
    if (why === undefined) return { peer, ids: all.map((one) => textIn(one, 'id')) }
  } catch (thrown) {
    const errno = errnoOf(thrown)
    const isDenied = errno === 'EACCES' || errno === 'EPERM'
    const fix = isDenied ? manifest : errno === 'ENOENT' ? orSocket : 'gcSocket says which socket is asked'
    throw new Error(`the runtime does not tell its sandboxes at ${socket}: ${messageOf(thrown)}: ${fix}`)
  }
  throw new Error(`${socket}: ${why}: ${manifest}`)
}

/** The number of the process that listens; 0 where it is in no PID namespace that this one sees. */
function peerOf(connection: Socket): number | undefined {
  const { fd } = (connection as unknown as { readonly _handle?: { readonly fd?: number } })._handle ?? {}
  const libc = loadLibc()
  if (!libc || fd === undefined) return undefined
  const [SOL_SOCKET, SO_PEERCRED, credentialBytes] = [1, 17, 12]
  // The garbage collector may move what is smaller.
  const [data, length] = [Buffer.alloc(128), Buffer.alloc(128)]
  length.writeUInt32LE(credentialBytes)
  const status = libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, libc.address(data), libc.address(length))
  return status === 0 ? data.readInt32LE() : undefined
}

/** Why what this process sees is not what the runtime sees; undefined where it is. */
function whyUnproven(peer: number): string | undefined {
  if (peer === 0) return 'the processes of the node are not seen from here (hostPID)'
  const network = linkTarget(`/proc/${peer}/ns/net`)
  if (network === undefined) return 'the namespaces of the node are not seen from here (CAP_SYS_PTRACE)'
  if (network !== linkTarget('/proc/self/ns/net')) return 'the runtime is in another network namespace (hostNetwork)'
  return whyOther(`/proc/${peer}/root`, [stateRoot, '/var/lib/cni'])
}

/** Why folders are not those below another root, or cannot be written; undefined where they are, and can. */
export function whyOther(root: string, folders: readonly string[]): string | undefined {
  for (const folder of folders) {
    try {
      const [own, its] = [identityOf(folder), identityOf(inRoot(placeOf({ root }), folder))]
      if (own !== its) return `${folder} here is not that of the node: mount it (hostPath and mountPath ${folder})`
      if (own !== '') accessSync(folder, constants.W_OK)
    } catch (thrown) {
      return `${folder} cannot be written: ${messageOf(thrown)}`
    }
  }
  return undefined
}

/** What tells a folder from others; "" where there is none. */
function identityOf(folder: string): string {
  const status = statSync(folder, { throwIfNoEntry: false })
  return status === undefined ? '' : `${status.dev} ${status.ino}`
}
