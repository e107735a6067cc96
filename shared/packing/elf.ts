import { execFileSync } from 'node:child_process'
import { readSync } from 'node:fs'

// What the build reads of a 64-bit little-endian ELF file (elf(5)), of which it may have to change a number.

export const types = { load: 1, dynamic: 2 } as const

/** One program header: its place in the file, and what it says. Offsets and lengths in bytes. */
export interface Segment {
  header: number
  type: number
  offset: number
  address: number
  fileSize: number
  memorySize: number
}

/** Places of fields in a program header. */
export const fields = { offset: 8, address: 0x10, fileSize: 0x20, memorySize: 0x28 } as const

export function segmentsOf(fd: number): Segment[] {
  const header = bytesAt(fd, 0, 64)
  const [size, count] = [header.readUInt16LE(0x36), header.readUInt16LE(0x38)]
  const start = Number(header.readBigUInt64LE(0x20))
  const table = bytesAt(fd, start, size * count)
  return Array.from({ length: count }, (_, index) => {
    const at = index * size
    const read = (field: number) => Number(table.readBigUInt64LE(at + field))
    return {
      header: start + at,
      type: table.readUInt32LE(at),
      offset: read(fields.offset),
      address: read(fields.address),
      fileSize: read(fields.fileSize),
      memorySize: read(fields.memorySize),
    }
  })
}

/** The loaded segment that has an address from the file. @throws when none has */
export function segmentAt(fd: number, address: number): Segment {
  const found = segmentsOf(fd).find(
    ({ type, address: start, fileSize }) => type === types.load && address >= start && address < start + fileSize,
  )
  if (!found) throw new Error(`nothing of the file is at ${address}`)
  return found
}

/** Where in the file an address comes from. */
export function offsetOf(fd: number, address: number): number {
  const segment = segmentAt(fd, address)
  return segment.offset + address - segment.address
}

/** Place of the size in a section header. */
export const sectionSize = 0x20

/** The section that begins at an address. @throws when none does */
export function sectionAt(fd: number, address: number): { header: number } {
  const header = bytesAt(fd, 0, 64)
  const [size, count] = [header.readUInt16LE(0x3a), header.readUInt16LE(0x3c)]
  const start = Number(header.readBigUInt64LE(0x28))
  const table = bytesAt(fd, start, size * count)
  const found = Array.from({ length: count }, (_, index) => index * size).find(
    (at) => Number(table.readBigUInt64LE(at + 0x10)) === address,
  )
  if (found === undefined) throw new Error(`no section begins at ${address}`)
  return { header: start + found }
}

/** An entry of the dynamic section, and its place in the file. */
export interface Entry {
  offset: number
  tag: number
  value: number
}

export const entrySize = 16

/** The entries of the dynamic section up to the one that ends them. */
export function entriesOf(fd: number, { offset, fileSize }: Segment): Entry[] {
  const entries: Entry[] = []
  const bytes = bytesAt(fd, offset, fileSize)
  for (let at = 0; at < fileSize; at += entrySize) {
    const [tag, value] = [Number(bytes.readBigUInt64LE(at)), Number(bytes.readBigUInt64LE(at + 8))]
    entries.push({ offset: offset + at, tag, value })
    if (tag === 0) break
  }
  return entries
}

/** What a symbol names: its address, and its size in bytes. */
export interface Named {
  address: number
  size: number
}

/** What a file offers to others. */
export function symbolsOf(file: string): ReadonlyMap<string, Named> {
  const options = ['--dynamic', '--defined-only', '--print-size']
  const listed = execFileSync('nm', [...options, file], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const found = new Map<string, Named>()
  for (const line of listed.split('\n')) {
    const [address = '', size = '', , versioned] = line.split(' ')
    const [name] = versioned?.split('@') ?? []
    if (name) found.set(name, { address: Number.parseInt(address, 16), size: Number.parseInt(size, 16) })
  }
  return found
}

export function bytesAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (readSync(fd, bytes, 0, length, offset) !== length) throw new Error(`the file ends before ${offset + length}`)
  return bytes
}
