import { closeSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { bytesAt, entriesOf, offsetOf, segmentsOf, symbolsOf, types } from './elf.js'

// The dynamic linker looks for each name that data refers to in every file of a program, 3,600 times a start; a third
// of an empty start is that. Most of those names can be found in one place only, which the build knows:
// - what the executable refers to and has itself, since it is always asked first;
// - what libstdc++ refers to and has itself, if it is a name of C++ (no other library of ours, and none of the C
//   library's, has those) and the executable, asked before it, has none.
// Such an entry is changed in place to "the file's own address, plus so much". Calls of functions stay as they are.

const tags = { strings: 5, symbols: 6, relocations: 7, relocationsSize: 8 } as const

/**
 * Kinds of entries by the processor that a file's header names (the processors' ELF supplements): what data refers to,
 * what the table of addresses does, and the file's own address plus so much.
 */
const kinds: Record<number, { data: number; table: number; own: number }> = {
  62: { data: 1, table: 6, own: 8 },
  183: { data: 257, table: 1025, own: 1027 },
}

const entrySize = 24
const symbolSize = 24
/** Types of symbols whose value is no address (elf(5)): thread-local, and found by a function. */
const unusual = [6, 10]
const firstReservedSection = 0xff00

/** Binds what an executable refers to and has itself. */
export function bindExecutable(file: string): void {
  bind(file, () => true)
}

/** The same of libstdc++, as the executables find it that stand on it. */
export function bindLibrary(file: string, executables: readonly string[]): void {
  const others = new Set(executables.flatMap((executable) => [...symbolsOf(executable).keys()]))
  bind(file, (name) => name.startsWith('_Z') && !others.has(name))
}

// --- internal

function bind(file: string, isOwn: (name: string) => boolean): void {
  const fd = openSync(file, 'r+')
  try {
    const known = kinds[bytesAt(fd, 18, 2).readUInt16LE()]
    if (!known) throw new Error(`${file} is for a processor whose entries are not known`)
    const { data, table, own } = known
    const at = placesOf(fd, file)
    const entries = bytesAt(fd, at.relocations, at.size)
    for (let entry = 0; entry < entries.length; entry += entrySize) {
      const kind = entries.readUInt32LE(entry + 8)
      if (kind !== data && kind !== table) continue
      const symbol = bytesAt(fd, at.symbols + symbolSize * entries.readUInt32LE(entry + 12), symbolSize)
      const section = symbol.readUInt16LE(6)
      if (section === 0 || section >= firstReservedSection || unusual.includes(symbol.readUInt8(4) & 15)) continue
      if (!isOwn(stringAt(fd, at.strings + symbol.readUInt32LE(0)))) continue
      entries.writeBigUInt64LE(BigInt(own), entry + 8)
      entries.writeBigInt64LE(entries.readBigInt64LE(entry + 16) + symbol.readBigInt64LE(8), entry + 16)
    }
    writeSync(fd, entries, 0, entries.length, at.relocations)
  } finally {
    closeSync(fd)
  }
}

/** Where in the file the tables are. */
function placesOf(fd: number, file: string) {
  const dynamic = segmentsOf(fd).find(({ type }) => type === types.dynamic)
  if (!dynamic) throw new Error(`${file} is not linked dynamically`)
  const entries = entriesOf(fd, dynamic)
  const numberOf = (tag: number) => {
    const found = entries.find((entry) => entry.tag === tag)
    if (!found) throw new Error(`${path.basename(file)} has no entry ${tag} in its dynamic section`)
    return found.value
  }
  const [strings, symbols, relocations] = [tags.strings, tags.symbols, tags.relocations].map((tag) =>
    offsetOf(fd, numberOf(tag)),
  ) as [number, number, number]
  return { strings, symbols, relocations, size: numberOf(tags.relocationsSize) }
}

function stringAt(fd: number, offset: number): string {
  for (let length = 256; ; length *= 4) {
    const bytes = bytesAt(fd, offset, length)
    const end = bytes.indexOf(0)
    if (end >= 0) return bytes.toString('latin1', 0, end)
  }
}
