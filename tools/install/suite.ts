import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readSync } from 'node:fs'
import { names } from 'podwire:plugins'
import { isObject } from '../../shared/values/object.js'

// Whose a program in a folder of plugins is, and of which version.

/** All names that the suite has. */
export const programs: readonly string[] = [...names, 'podwire']

export type Suite = 'podwire' | 'official' | 'other'

/** What a file is; the same for all names of one file. */
export interface Identity {
  readonly suite: Suite
  readonly sha256: string
}

/** A look at files that reads each but once, by whatever name. */
export function identifier(): (file: string) => Identity {
  const known = new Map<string, Identity>()
  return (file) => {
    const { dev, ino, mtimeMs, size } = lstatSync(file)
    const key = [dev, ino, mtimeMs, size].join(' ')
    const identity = known.get(key) ?? identify(file)
    known.set(key, identity)
    return identity
  }
}

/**
 * Why a program does not answer VERSION as a plugin does, or podwire as itself; undefined where it does.
 * @param environment what the program gets besides
 */
export function startFault(file: string, name: string): string | undefined {
  const isProgram = name === 'podwire'
  const { status, signal, stdout, stderr, error } = spawnSync(file, isProgram ? ['version', '--json'] : [], {
    ...limits,
    input: isProgram ? '' : '{"cniVersion":"1.1.0"}',
    env: isProgram ? {} : { CNI_COMMAND: 'VERSION' },
  })
  const machine = status === 0 ? undefined : foreignMachine(file)
  if (machine !== undefined) return `it is of another architecture: for ${machine}, and this machine is ${process.arch}`
  // One that does not read its input has an error, too.
  if (error && status === null) return `cannot be started: ${error.message}`
  if (status !== 0) return `VERSION ends with ${signal ?? `status ${status}`}: ${stderr.split('\n')[0]}`
  try {
    const answer: unknown = JSON.parse(stdout)
    const isAnswer = isObject(answer) && (isProgram ? 'plugins' in answer : Array.isArray(answer['supportedVersions']))
    return isAnswer ? undefined : 'VERSION answers something else than versions'
  } catch {
    return 'VERSION answers no JSON'
  }
}

/** What a program says of itself: its version, "" where it names none, and why it does not answer VERSION. */
export interface Answer {
  readonly version: string
  readonly fault: string | undefined
}

/**
 * Starts a program once. A plugin says without CNI_COMMAND both its version and those of the protocol; only one that
 * does not is asked VERSION, too.
 */
export function answerOf(file: string, name: string): Answer {
  const words = name === 'podwire' ? ['version'] : []
  const { status, stdout, stderr } = spawnSync(file, words, { ...limits, input: '', env: {} })
  const text = `${stderr ?? ''}\n${stdout ?? ''}`
  const [, version = ''] = /(?: plugin v?|^podwire )(\d[\w.+-]*)/m.exec(text) ?? []
  const isWhole =
    status === 0 && version !== '' && (name === 'podwire' || /^CNI protocol versions supported: \d/m.test(text))
  return { version, fault: isWhole ? undefined : startFault(file, name) }
}

// --- internal

/** The processors that there are binaries for, by their numbers in an ELF header, as Node calls them. */
const machines: Readonly<Record<number, string>> = { 62: 'x64', 183: 'arm64' }

/** What processor a program is for, where that is another one than this machine's. */
function foreignMachine(file: string): string | undefined {
  const header = Buffer.alloc(20)
  const fd = openSync(file, 'r')
  try {
    if (readSync(fd, header, 0, header.length, 0) < header.length) return undefined
  } finally {
    closeSync(fd)
  }
  if (header.toString('latin1', 0, 4) !== '\x7fELF') return undefined
  const number = header.readUInt16LE(18)
  const machine = machines[number] ?? `ELF machine ${number}`
  return machine === process.arch ? undefined : machine
}

const limits = { encoding: 'utf8', timeout: 30_000, killSignal: 'SIGKILL', maxBuffer: 1024 * 1024 } as const

const marks: readonly [Suite, Buffer][] = [
  ['podwire', Buffer.from('this is a defect of podwire; please report it with this text')],
  ['podwire', Buffer.from('Look at and look after what CNI plugins do on this host.')],
  ['official', Buffer.from('github.com/containernetworking/plugins')],
]

/** Reads a file to its end, in parts that overlap by the longest mark. A script that speaks of a suite is of none. */
function identify(file: string): Identity {
  const hash = createHash('sha256')
  const overlap = Math.max(...marks.map(([, mark]) => mark.length))
  const part = Buffer.alloc(1024 * 1024 + overlap)
  let suite: Suite = 'other'
  const fd = openSync(file, 'r')
  try {
    let isProgram = false
    for (let position = 0, kept = 0; ; ) {
      const length = readSync(fd, part, kept, part.length - kept, position)
      if (length === 0) break
      if (position === 0) isProgram = part.toString('latin1', 0, 4) === '\x7fELF'
      position += length
      hash.update(part.subarray(kept, kept + length))
      const filled = part.subarray(0, kept + length)
      if (suite === 'other' && isProgram) suite = marks.find(([, mark]) => filled.includes(mark))?.[0] ?? 'other'
      kept = Math.min(overlap, filled.length)
      part.copyWithin(0, filled.length - kept, filled.length)
    }
  } finally {
    closeSync(fd)
  }
  return { suite, sha256: hash.digest('hex') }
}
