import { namespaceAt, openedNamespaces, ownFile } from '../system/namespaces.js'
import type { Command, Outcome } from './command.js'

/**
 * Runs a command with open files in the place of the namespaces that its words and its input name: they become
 * descriptors of the child, which it finds at /proc/self/fd. What it says names the paths again.
 */
export function inOpenNamespaces(command: Command, run: (command: Command) => Outcome): Outcome {
  for (const word of command.argv) if (word.startsWith(enter)) namespaceAt(word.slice(enter.length))
  const text = [...command.argv, command.stdin, ...(command.pipes ?? [])].join('\n')
  const named = [...openedNamespaces().keys()].filter(
    (path) => text.includes(enter + path) || text.includes(` netns ${path}`),
  )
  return named.length === 0 ? run(command) : runBy(named, command, run)
}

// --- internal

/** The child's first descriptor behind its standard ones. */
const firstExtra = 3

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
    fds: [...fds, ...named.map((path) => openedNamespaces().get(path) as number)],
  })
  const told = (text: string) => files.reduce((rest, { path, file }) => rest.replaceAll(file, path), text)
  return { ...outcome, stderr: told(outcome.stderr), ...(outcome.extra ? { extra: outcome.extra.map(told) } : {}) }
}
