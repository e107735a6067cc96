import path from 'node:path'
import { isIdentifier } from '../../shared/values/environment.js'
import type { Network } from './documents.js'
import type { Finding } from './finding.js'

// What runtimes do with the files of one folder. All list it by name in the order of bytes and take no subfolders.
// containerd (go-cni, one configuration): the first of .conf, .conflist, .json; where that is wrong it has no network.
// CRI-O (ocicni): the same files, wrong ones are skipped, a name counts once; the first one left is the default.
// Podman 4: .conflist alone, wrong ones are skipped, a name counts once; networks are chosen by name.
// cnitool and nerdctl (libcni, by name): .conflist first, then .conf and .json; a wrong .conflist before it stops it.

export const runtimes = ['containerd', 'crio', 'podman', 'libcni'] as const
export type Runtime = (typeof runtimes)[number]

/** What a runtime does with a file. */
export interface Loading {
  readonly file: string
  readonly network: string
  readonly does: Readonly<Record<Runtime, string>>
}

/** A file of the folder as far as runtimes tell them apart. */
export interface FolderFile {
  readonly file: string
  /** Absent where it is no configuration. */
  readonly network?: Network
  readonly isWrong: boolean
}

/** What happens with each file of one folder, in the order in which they are listed. */
export function loadingOf(files: readonly FolderFile[]): readonly Loading[] {
  const seen = { crio: new Set<string>(), podman: new Set<string>(), libcni: new Set<string>() }
  let [isFirst, hasDefault, isStopped] = [true, false, false]
  return files.map(({ file, network, isWrong }) => {
    const extension = path.extname(file)
    const isLoaded = ['.conf', '.conflist', '.json'].includes(extension)
    const name = network?.name ?? ''
    const fault = isWrong || !network ? 'refuses' : kindFault(network, extension)
    const does = { containerd: 'ignores', crio: 'ignores', podman: 'ignores', libcni: 'ignores' }
    if (isLoaded) {
      does.containerd = isFirst ? (fault ? 'has no network' : 'uses') : 'ignores'
      isFirst = false
      does.crio = fault ? 'skips' : once(seen.crio, name, hasDefault ? 'by name' : 'default')
      if (does.crio === 'default') hasDefault = true
      does.libcni = isStopped ? 'stops before' : fault ? 'stops here' : once(seen.libcni, name, 'by name')
      if (fault && extension === '.conflist') isStopped = true
    }
    if (extension === '.conflist')
      does.podman =
        fault || !isIdentifier(name) || !('plugins' in (network?.config ?? {}))
          ? 'skips'
          : once(seen.podman, name, 'by name')
    return { file, network: name, does }
  })
}

/** What is worth a word of that. */
export function loadingFindings(files: readonly FolderFile[]): Finding[] {
  return files.flatMap(({ file, network }, at) => {
    const extension = path.extname(file)
    const found: Finding[] = []
    if (network) {
      const fault = kindFault(network, extension)
      if (fault)
        found.push(network.report('extension', 'error', network.isList ? 'plugins' : 'type', fault.message, fault.fix))
      const earlier = files
        .slice(0, at)
        .find((one) => one.network && one.network.name === network.name && network.name !== '')
      if (earlier) {
        const message = `the network "${network.name}" is that of ${path.basename(earlier.file)}, too`
        found.push(network.report('duplicate-name', 'error', 'name', message, 'give each network a name of its own'))
      }
    }
    if (!['.conf', '.conflist', '.json'].includes(extension) && network?.isFile) {
      const message = `no runtime loads "${path.basename(file)}": they take .conflist, .conf and .json`
      found.push(network.report('extension', 'warning', '', message))
    }
    return found
  })
}

// --- internal

/** Why a runtime does not take the file for what it is. */
function kindFault({ isList }: Network, extension: string): { message: string; fix: string } | undefined {
  if (isList && (extension === '.conf' || extension === '.json')) {
    return {
      message: `a list in a ${extension} file: runtimes look for "type" in it and refuse the file`,
      fix: 'name the file .conflist',
    }
  }
  if (!isList && extension === '.conflist') {
    return { message: 'one plugin in a .conflist file: runtimes look for "plugins" in it', fix: 'name the file .conf' }
  }
  return undefined
}

function once(seen: Set<string>, name: string, does: string): string {
  if (seen.has(name)) return 'skips (name taken)'
  seen.add(name)
  return does
}
