import { closeSync, openSync, writeSync } from 'node:fs'
import {
  bytesAt,
  entriesOf,
  entrySize,
  fields,
  type Segment,
  sectionAt,
  sectionSize,
  segmentAt,
  segmentsOf,
  types,
} from './elf.js'

// Where a binary looks for its C++ libraries. patchelf would move the dynamic symbols, into a segment of their own and
// out of what postject can rewrite; in place nothing moves, and a start costs the same: the dynamic section has entries
// to spare, and the string goes into the rest of the page that the strings' segment ends in.

/**
 * The folder of the libraries, beside the file, then where it is usually installed: a hard link in another folder has
 * nothing beside it.
 */
export const places = [
  '$ORIGIN/podwire-lib',
  '/opt/cni/bin/podwire-lib',
  '/usr/libexec/podwire/podwire-lib',
  '/usr/libexec/podwire',
]

const tags = { strings: 5, stringsSize: 10, rpath: 15, runpath: 29 } as const
const page = 4096

/** Gives a binary without one a RUNPATH (ld.so(8)). @throws when it has one, or has no room for it */
export function setRunpath(file: string, path: string): void {
  const fd = openSync(file, 'r+')
  try {
    const dynamic = segmentsOf(fd).find(({ type }) => type === types.dynamic)
    if (!dynamic) throw new Error(`${file} is not linked dynamically`)
    const entries = entriesOf(fd, dynamic)
    const find = (tag: number) => entries.find((entry) => entry.tag === tag)
    const [strings, size, last] = [find(tags.strings), find(tags.stringsSize), entries.at(-1)]
    if (find(tags.rpath) ?? find(tags.runpath)) throw new Error(`${file} has a search path already`)
    if (!(strings && size && last)) throw new Error(`${file}: its dynamic section is not complete`)
    const bytes = Buffer.from(`${path}\0`)
    const address = append(fd, segmentWithRoom(fd, strings.value, bytes.length), bytes)
    const newSize = address + path.length + 1 - strings.value
    writeNumber(fd, size.offset + 8, newSize)
    // readelf and objdump go by the section: it, too, reaches over what lies between.
    writeNumber(fd, sectionAt(fd, strings.value).header + sectionSize, newSize)
    // The next entry is all zeros, and so the end.
    expectZeros(bytesAt(fd, last.offset, 2 * entrySize), 'the dynamic section')
    writeNumber(fd, last.offset, tags.runpath)
    writeNumber(fd, last.offset + 8, address - strings.value)
    resize(fd, dynamic, last.offset + 2 * entrySize - dynamic.offset)
  } finally {
    closeSync(fd)
  }
}

// --- internal

/**
 * The segment of the strings, or one behind it (a tool that came before may have filled its last page), whose last page
 * has room.
 */
function segmentWithRoom(fd: number, strings: number, length: number): Segment {
  const first = segmentAt(fd, strings).address
  const found = segmentsOf(fd).find(
    ({ type, address, fileSize, memorySize }) =>
      type === types.load &&
      address >= first &&
      fileSize === memorySize &&
      page - ((address + fileSize) % page || page) >= length,
  )
  if (!found) throw new Error(`no segment from ${first} on has room for ${length} bytes`)
  return found
}

/** Puts bytes behind a segment that has room, in the page that is loaded anyway; their address. */
function append(fd: number, segment: Segment, bytes: Buffer): number {
  const { offset, address, fileSize } = segment
  const end = address + fileSize
  expectZeros(bytesAt(fd, offset + fileSize, bytes.length), 'the end of a segment')
  writeSync(fd, bytes, 0, bytes.length, offset + fileSize)
  resize(fd, segment, fileSize + bytes.length)
  return end
}

function resize(fd: number, { header }: Segment, size: number): void {
  writeNumber(fd, header + fields.fileSize, size)
  writeNumber(fd, header + fields.memorySize, size)
}

function expectZeros(bytes: Buffer, where: string): void {
  if (bytes.some((byte) => byte !== 0)) throw new Error(`${where} is followed by ${bytes.toString('hex')}`)
}

function writeNumber(fd: number, offset: number, value: number): void {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  writeSync(fd, bytes, 0, 8, offset)
}
