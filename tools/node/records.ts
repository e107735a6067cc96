import { shapes } from 'podwire:shapes'
import { type Entry, understood } from '../../shared/exec/records.js'
import { parseState, stateRoot, Unusable } from '../../shared/exec/state.js'
import type { FileReader } from './reader.js'

/** A record of podwire's plugins (shared/exec/records.ts), as a file. */
export interface StoredRecord extends Entry<Readonly<Record<string, unknown>>> {
  readonly kind: string
  readonly file: string
  readonly modified: number
}

/** Every record; what another version wrote, or nobody can read, is noted. */
export function readRecords(reader: FileReader): readonly StoredRecord[] {
  return reader
    .names(stateRoot)
    .filter((kind) => !isOther(kind) && reader.isFolder(`${stateRoot}/${kind}`))
    .flatMap((kind) => recordsOf(reader, kind))
}

// --- internal

/** Drafts, counts, and copies of records in folders of their own. */
function isOther(name: string): boolean {
  return (
    name === 'drafts' ||
    name === 'errors' ||
    name === 'portmap-special' ||
    name === 'firewall-holders' ||
    name.endsWith('.lock')
  )
}

function recordsOf(reader: FileReader, kind: string): readonly StoredRecord[] {
  const root = `${stateRoot}/${kind}`
  if (!Object.hasOwn(shapes, `state.${kind}`)) {
    reader.note(root, 'holds records of a kind that this podwire does not know')
    return []
  }
  return reader.names(root).flatMap((network) =>
    reader
      .names(`${root}/${network}`)
      .filter((name) => !name.endsWith('.new'))
      .flatMap((name) => recordIn(reader, kind, `${root}/${network}/${name}`)),
  )
}

function recordIn(reader: FileReader, kind: string, file: string): readonly StoredRecord[] {
  const text = reader.text(file)
  if (text === undefined) return []
  try {
    const entry = understood(kind, parseState(text)) as Entry<Readonly<Record<string, unknown>>>
    return [{ ...entry, kind, file, modified: reader.stat(file)?.mtimeMs ?? 0 }]
  } catch (thrown) {
    if (!(thrown instanceof Unusable)) throw thrown
    reader.note(file, thrown.message)
    return []
  }
}
