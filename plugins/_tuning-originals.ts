import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Host } from '../shared/plan/host.js'
import { macOf } from '../shared/protocol/checks.js'
import { CniError, codes } from '../shared/protocol/errors.js'
import type { Attachment } from '../shared/protocol/plugin.js'

/** What of a link can be tuned; absent is left as it is. */
export interface Attributes {
  readonly mac?: string
  readonly promisc?: boolean
  readonly mtu?: number
  readonly allmulti?: boolean
  readonly txQLen?: number
}

/**
 * The values before the tuning, in the file and format of the official plugin, which restores the link's attributes
 * from it; `sysctl` (path -> value) and `podwire` are ours, and it passes over them.
 */
export interface Originals extends Attributes {
  readonly sysctl?: Readonly<Record<string, string>>
  readonly podwire?: Attachment & {
    /** Which link of which namespace was tuned: that of a restarted container is another one. */
    readonly link: string
  }
}

export function fileOf(dataDir: string, { containerID, ifName }: Attachment): string {
  return `${dataDir}/${containerID}_${ifName}.json`
}

/** What a file says; undefined where there is none, or nothing that can be understood. */
export function readOriginals(file: string): Originals | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new CniError(codes.ioFailure, `cannot read ${file}`, { details: (thrown as Error).message })
  }
  try {
    return understood(JSON.parse(text))
  } catch {
    return undefined
  }
}

/**
 * Notes the values before a tuning; taken back when the ADD fails. Of a link that is tuned again the first values stay: the present
 * ones are ours already.
 */
export function keepOriginals(host: Host, file: string, present: Originals): void {
  const before = readOriginals(file)
  const isSame = before !== undefined && (before.podwire?.link ?? present.podwire?.link) === present.podwire?.link
  const sysctl = { ...present.sysctl, ...before?.sysctl }
  const kept = isSame ? { ...present, ...before, ...(Object.keys(sysctl).length > 0 ? { sysctl } : {}) } : present
  host.change(`note the original values in ${file}`, () => {
    host.journal.note(() => {
      if (before) write(file, before)
      else rmSync(file, { force: true })
      return []
    })
    write(file, { ...kept, ...(present.podwire ? { podwire: present.podwire } : {}) })
  })
}

export function forgetOriginals(host: Host, file: string): void {
  host.change(`forget ${file}`, () => rmSync(file, { force: true }))
}

/** The files of a network's attachments that are no longer valid; the official plugin's name no network and stay. */
export function staleFiles(
  dataDir: string,
  network: string,
  valid: readonly { containerID: string; ifname: string }[],
): readonly string[] {
  const alive = new Set(valid.map(({ containerID, ifname }) => `${containerID}/${ifname}`))
  return namesIn(dataDir)
    .map((name) => `${dataDir}/${name}`)
    .filter((file) => {
      const owner = readOriginals(file)?.podwire
      return owner?.network === network && !alive.has(`${owner.containerID}/${owner.ifName}`)
    })
}

// --- internal

/** In the official order, one space of indent; written beside and renamed, so that a reader sees all or nothing. */
function write(file: string, { mac, promisc, mtu, allmulti, txQLen, sysctl, podwire }: Originals): void {
  const text = JSON.stringify({ mac, promisc, mtu, allmulti, txQLen, sysctl, podwire }, null, 1)
  try {
    mkdirSync(file.slice(0, file.lastIndexOf('/')), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, text, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } catch (thrown) {
    throw new CniError(codes.ioFailure, `cannot write ${file}`, {
      details: (thrown as Error).message,
      fix: 'make dataDir a writable directory: it keeps what DEL restores',
    })
  }
}

/** The members that have the right type: the file may be an older version's, or somebody else's. */
function understood(found: Record<string, unknown>): Originals {
  const originals: Record<string, unknown> = {}
  for (const [key, type] of Object.entries(types)) if (typeof found[key] === type) originals[key] = found[key]
  const mac = macOf(String(originals['mac'] ?? ''))
  const { mac: _, ...others } = originals
  return mac === undefined ? others : { ...others, mac }
}

const types: Record<keyof Originals, string> = {
  mac: 'string',
  promisc: 'boolean',
  mtu: 'number',
  allmulti: 'boolean',
  txQLen: 'number',
  sysctl: 'object',
  podwire: 'object',
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith('.json'))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw thrown
  }
}
