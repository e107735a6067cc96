import { type LeaseFiles, unless } from './files.js'

/**
 * This run of this machine, written into index records. A lease from an earlier run of the same machine is dead: its
 * container ended with the kernel. No clock is asked (clocks jump), and a lease of another machine, which may share
 * the directory over a network, proves nothing.
 */
export interface Epoch {
  /** Without white space; empty when machine or boot cannot be told, and then nothing is ever proven. */
  readonly text: string
  /** True when `earlier` is a former run of this machine. */
  readonly outlived: (earlier: string) => boolean
  /** A time in the 1980s and 1990s, in seconds, that stands for this boot; undefined when the boot cannot be told. */
  readonly sealSeconds: number | undefined
}

/** Reads machine and boot id. */
export function currentEpoch(files: Pick<LeaseFiles, 'readFileSync'>): Epoch {
  const read = (path: string) =>
    unless(['ENOENT', 'EACCES', 'ENOTDIR'], () => files.readFileSync(path, 'latin1').trim())
  return epochOf(() => read('/etc/machine-id') ?? '', read('/proc/sys/kernel/random/boot_id') ?? '')
}

/** The epoch of a machine id (32 digits, else it is no proof of identity) and a boot id. */
export function epochOf(machineID: () => string, bootID: string): Epoch {
  const boot = fnv1a(bootID)
  let known: { readonly machine: string; readonly text: string } | undefined
  /** Only who gives addresses wants to know the machine. */
  const epoch = () => {
    const id = known ? '' : machineID()
    const machine = `${fnv1a(id).toString(36)}.`
    known ??= { machine, text: id.length === 32 && bootID !== '' ? `${machine}${boot.toString(36)}` : '' }
    return known
  }
  return {
    get text() {
      return epoch().text
    },
    outlived: (earlier) => {
      const { machine, text } = epoch()
      return text !== '' && earlier.startsWith(machine) && earlier !== text
    },
    sealSeconds: bootID === '' ? undefined : 0x20000000 + (boot >>> 4),
  }
}

// --- internal

/** The 32 bit FNV-1a hash: it only has to tell a machine's boots apart. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash >>> 0
}
