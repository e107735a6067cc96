import { closeSync, constants, openSync, statfsSync } from 'node:fs'
import type { Command, Outcome } from '../exec/run.js'

// What is at the path of a network namespace may change at any moment: a link that is turned, a mount, a process whose number another one gets.
// So each is opened once, and all that a call does in it goes by the open file: that is the namespace that was looked at, or none.

/** The open file of a network namespace, or the magic of the file system on which something else is. */
export type Opened = { readonly fd: number } | { readonly magic: number }

/**
 * What was at a path when this process first found a network namespace there; undefined where nothing is (any more).
 * @throws the system's error
 */
export function openNamespace(path: string): Opened | undefined {
  const known = opened.get(path)
  if (known !== undefined) return { fd: known }
  try {
    // Looked at before: to open a device or a pipe may do something.
    const { type } = statfsSync(path)
    if (!magics.includes(type)) return { magic: type }
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    const { type: magic } = statfsSync(ownFile(fd))
    if (magics.includes(magic)) {
      opened.set(path, fd)
      return { fd }
    }
    closeSync(fd)
    return { magic }
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw thrown
  }
}

/** Its open file; undefined also where something else is, or it cannot be opened. */
export function namespaceAt(path: string): number | undefined {
  try {
    const found = openNamespace(path)
    return found && 'fd' in found ? found.fd : undefined
  } catch {
    return undefined
  }
}

/** Where this process finds the namespace that a path stands for. */
export function namespaceFile(path: string): string {
  const fd = opened.get(path)
  return fd === undefined ? path : ownFile(fd)
}

/**
 * Runs a command with open files in the place of the namespaces that its words and its input name: they become descriptors of the child,
 * which it finds at /proc/self/fd. What it says names the paths again.
 */
export function inOpenNamespaces(command: Command, run: (command: Command) => Outcome): Outcome {
  for (const word of command.argv) if (word.startsWith(enter)) namespaceAt(word.slice(enter.length))
  const text = [...command.argv, command.stdin, ...(command.pipes ?? [])].join('\n')
  const named = [...opened.keys()].filter((path) => text.includes(enter + path) || text.includes(` netns ${path}`))
  return named.length === 0 ? run(command) : runBy(named, command, run)
}

// --- internal

const opened = new Map<string, number>()

/** The child's first descriptor behind its standard ones. */
const firstExtra = 3

/** File system magics a network namespace can lie on: nsfs, and proc on old kernels (linux/magic.h). */
const magics = [0x6e736673, 0x9fa0]

/** The path of an open file for the process that has it: of this process, or of a child that has it under the same number. */
function ownFile(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** How nsenter is told of one. */
const enter = '--net='

function runBy(named: readonly string[], command: Command, run: (command: Command) => Outcome): Outcome {
  const { argv, stdin, fds = [], pipes } = command
  const first = firstExtra + fds.length + (pipes?.length ?? 0)
  const files = named.map((path, index) => ({ path, file: ownFile(first + index) }))
  const word = (one: string) => {
    const found = files.find(({ path }) => one === enter + path)
    return found ? enter + found.file : one
  }
  // A batch of `ip`: its words have one space between them, and each line an end.
  const input = (text: string) => {
    const replace = (rest: string, path: string, file: string, end: string) =>
      rest.replaceAll(` netns ${path}${end}`, ` netns ${file}${end}`)
    return files.reduce((rest, { path, file }) => replace(replace(rest, path, file, ' '), path, file, '\n'), text)
  }
  const outcome = run({
    ...command,
    argv: argv.map(word) as [string, ...string[]],
    ...(stdin === undefined ? {} : { stdin: input(stdin) }),
    ...(pipes ? { pipes: pipes.map((text) => text && input(text)) } : {}),
    fds: [...fds, ...named.map((path) => opened.get(path) as number)],
  })
  const told = (text: string) => files.reduce((rest, { path, file }) => rest.replaceAll(file, path), text)
  return { ...outcome, stderr: told(outcome.stderr), ...(outcome.extra ? { extra: outcome.extra.map(told) } : {}) }
}
