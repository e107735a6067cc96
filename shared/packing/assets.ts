import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { segmentsOf, types } from './elf.js'

// The scripts and code caches in a binary. Node goes through all it carries at every start, from one length to the
// next; so they lie in one asset, `all`, and each name has just its place in that: a start touches 30 pages less. And
// V8 copies a code cache whose address is no multiple of 8, which nothing that Node packs has by itself.

const mark = Buffer.from("podwire's files\0")
/** What comes before the files: the mark, and how far they are moved in the finished binary; the latter is read. */
const header = mark.length + 8
const alignment = 8

/** Puts files, of which `files` has the paths, into one: what to carry in their place, made in `folder`. */
export function packAssets(files: Readonly<Record<string, string>>, folder: string): Record<string, string> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const carried: Record<string, string> = {}
  const carry = (name: string, bytes: Buffer) => {
    carried[name] = path.join(folder, name)
    writeFileSync(path.join(folder, name), bytes)
  }
  const parts = [mark, Buffer.alloc(header - mark.length)]
  let end = header
  for (const [name, file] of Object.entries(files)) {
    const bytes = readFileSync(file)
    const place = Buffer.alloc(8)
    place.writeUInt32LE(end, 0)
    place.writeUInt32LE(bytes.length, 4)
    carry(name, place)
    const rest = Buffer.alloc(-bytes.length & (alignment - 1))
    parts.push(bytes, rest)
    end += bytes.length + rest.length
  }
  carry('all', Buffer.concat([...parts, Buffer.alloc(alignment)]))
  return carried
}

/** Moves the files of a finished binary to addresses that are multiples of 8. */
export function alignAssets(file: string, { all }: Readonly<Record<string, string>>): void {
  if (all === undefined) return
  const [binary, content] = [readFileSync(file), readFileSync(all)]
  const at = binary.indexOf(content)
  if (at < 0 || binary.indexOf(mark, at + 1) >= 0) throw new Error(`${file} does not carry ${all} once`)
  const fd = openSync(file, 'r+')
  try {
    const segment = segmentsOf(fd).find(
      ({ type, offset, fileSize }) => type === types.load && offset <= at && at < offset + fileSize,
    )
    if (!segment) throw new Error(`nothing loads ${all} in ${file}`)
    const address = segment.address - segment.offset + at
    const shift = -(address + header) & (alignment - 1)
    const moved = Buffer.concat([Buffer.alloc(shift), content.subarray(header, content.length - shift)])
    moved.copy(content, header)
    content.writeUInt8(shift, mark.length)
    writeSync(fd, content, 0, content.length, at)
  } finally {
    closeSync(fd)
  }
}
