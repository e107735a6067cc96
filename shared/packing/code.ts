import { closeSync, openSync, writeSync } from 'node:fs'
import { bytesAt, type Named, offsetOf, symbolsOf } from './elf.js'

// What the build looks for in the machine code of Node, and what it puts in its place.

/** What a processor's code is known by, and what stands for it. */
interface Processor {
  /** How a function begins. */
  entry: RegExp
  /** A function that does nothing. */
  nothing: Buffer
  /** One that returns 0. */
  zero: Buffer
}

const processors: Record<string, Processor> = {
  x64: {
    // push %rbp; mov %rsp,%rbp
    entry: pattern('55 4889e5'),
    // ret
    nothing: Buffer.from('c3', 'hex'),
    // xor %eax,%eax; ret
    zero: Buffer.from('31c0c3', 'hex'),
  },
  arm64: {
    // paciasp, or stp x29,x30,[sp,...]!
    entry: pattern('(3f2303d5|fd7b..a9)'),
    // bti c, since a caller by a pointer may have to find one; ret
    nothing: Buffer.concat([word(0xd503245f), word(0xd65f03c0)]),
    // bti c; mov x0,xzr; ret
    zero: Buffer.concat([word(0xd503245f), word(0xaa1f03e0), word(0xd65f03c0)]),
  },
}

/** A binary that is being changed. */
export interface Program {
  fd: number
  symbols: ReadonlyMap<string, Named>
  processor: Processor
}

/** What to write, and where in the file. */
export interface Change {
  at: number
  bytes: Buffer
}

/** Makes the changes that `find` names in a file. @throws when its code is not known */
export function change(file: string, arch: string, find: (program: Program) => Change[]): void {
  const processor = processors[arch]
  if (!processor) throw new Error(`code for ${arch} is not known`)
  const symbols = symbolsOf(file)
  const fd = openSync(file, 'r+')
  try {
    for (const { at, bytes } of find({ fd, symbols, processor })) writeSync(fd, bytes, 0, bytes.length, at)
  } finally {
    closeSync(fd)
  }
}

/** A function's address, its code, and where in the file it is. @throws when none has the name */
export function functionAt({ fd, symbols }: Program, name: string): { address: number; offset: number; code: Buffer } {
  const symbol = symbols.get(name)
  if (!symbol) throw new Error(`there is no ${name}`)
  const offset = offsetOf(fd, symbol.address)
  return { address: symbol.address, offset, code: bytesAt(fd, offset, symbol.size) }
}

/** Puts another function in the place of one. @throws when it is not the code it was */
export function instead(program: Program, name: string, other: 'nothing' | 'zero'): Change {
  const { offset, code } = functionAt(program, name)
  const { entry, [other]: bytes } = program.processor
  if (code.toString('latin1').search(entry) !== 0) throw new Error(`${name} is not the code it was`)
  return { at: offset, bytes }
}

/** Bytes in hexadecimal, any one written as two points. */
export function pattern(text: string): RegExp {
  const bytes = text.replaceAll(' ', '').replaceAll(/[0-9a-f]{2}/g, '\\x$&')
  return new RegExp(bytes.replaceAll('..', '[^]'), 'g')
}

/** The one place where a function has these bytes. */
export function only(code: Buffer, bytes: RegExp, name: string): number {
  const [found, another] = [...code.toString('latin1').matchAll(bytes)]
  if (!found || another) throw new Error(`${name} is not the code it was`)
  return found.index
}

/** 32 bits, the lowest first. */
export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value | 0)
  return bytes
}
