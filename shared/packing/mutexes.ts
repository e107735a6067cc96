import { execFileSync } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { bytesAt, offsetOf } from './elf.js'

// Node's build leaves on what abseil means for debug builds: at each lock of a mutex of V8's it looks for deadlocks, in
// a graph whose megabyte the first lock clears. That is half a millisecond of a start, more where memory is slow.
// Abseil's release builds start with this off, and so do our binaries.

/** OnDeadlockCycle of absl/synchronization/mutex.h */
export const modes = { ignore: 0, abort: 2 } as const
const setter = '_ZN4absl29SetMutexDeadlockDetectionModeENS_15OnDeadlockCycleE'
/** push %rbp; mov %rsp,%rbp; mov %edi,DISTANCE(%rip); pop %rbp; ret */
const storing = { before: Buffer.from('554889e5893d', 'hex'), after: Buffer.from('5dc3', 'hex') }

/**
 * The mode that a binary for x64 starts with, and its place in the file. @throws when it is not where this Node has it
 */
export function deadlockDetection(file: string): { mode: number; offset: number } {
  const fd = openSync(file, 'r')
  try {
    const symbol = addressOf(file, setter)
    const code = bytesAt(fd, offsetOf(fd, symbol), storing.before.length + 4 + storing.after.length)
    const end = storing.before.length + 4
    const isKnown = code.indexOf(storing.before) === 0 && code.subarray(end).equals(storing.after)
    if (!isKnown) throw new Error(`${file}: ${setter} is not the code it was: ${code.toString('hex')}`)
    const offset = offsetOf(fd, symbol + end + code.readInt32LE(storing.before.length))
    return { mode: bytesAt(fd, offset, 4).readInt32LE(), offset }
  } finally {
    closeSync(fd)
  }
}

/** Has a binary for x64 start without looking for deadlocks. @throws when it is not the Node that is known */
export function ignoreDeadlocks(file: string): void {
  const { mode, offset } = deadlockDetection(file)
  if (mode !== modes.abort) throw new Error(`${file} starts with the mode ${mode}`)
  const fd = openSync(file, 'r+')
  try {
    writeSync(fd, Buffer.alloc(4, modes.ignore), 0, 4, offset)
  } finally {
    closeSync(fd)
  }
}

// --- internal

function addressOf(file: string, symbol: string): number {
  const listed = execFileSync('nm', ['--dynamic', '--defined-only', file], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const line = listed.split('\n').find((one) => one.split(/[ @]/)[2] === symbol)
  if (line === undefined) throw new Error(`${file} has no ${symbol}`)
  return Number.parseInt(line, 16)
}
