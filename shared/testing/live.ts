import { accessSync, constants, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { expect } from 'vitest'
import type { Command, Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import { keepStateIn, stateRoot } from '../exec/state.js'
import { main } from '../program/main.js'
import { answering, environmentOf, filesOf, holding, inputOf, netns, type Row } from './golden.js'
import type { Memory } from './memory.js'

/** What a call did: its answer, the changes it made, each as a person would type it, and what it said on stderr. */
export interface Performed {
  readonly status: 0 | 1
  // biome-ignore lint/suspicious/noExplicitAny: tests look into results of every form
  readonly json: any
  readonly changes: readonly string[]
  readonly said: string
}

/**
 * A machine on which calls are made and not only shown: tools do as they are told, and state lies in a directory of its
 * own.
 */
export interface Stage {
  /**
   * Makes one call. `failing` is the number of the change, from 1 on, that is refused with whatever stands beside it.
   */
  readonly perform: (row: Row, failing?: number) => Promise<Performed>
  /** Makes one call that is to succeed. */
  readonly succeed: (row: Row) => Promise<Performed>
  /** The files of state that are there, without folders. */
  readonly state: () => readonly string[]
  /** Ends it, with all its state. */
  readonly close: () => void
}

/** @param memory what answers the looks that a row does not, and keeps what calls change */
export function openStage(memory?: Memory): Stage {
  const root = mkdtempSync(join(quickDirectory(), 'podwire-stage-'))
  const usual = stateRoot
  keepStateIn(join(root, 'state'))
  return {
    perform: (row, failing) => perform(row, failing, memory),
    succeed: async (row) => {
      const performed = await perform(row, undefined, memory)
      expect(performed.status, `${row.verb} ${JSON.stringify(performed.json)}`).toBe(0)
      return performed
    },
    state: () =>
      existsSync(stateRoot)
        ? readdirSync(stateRoot, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => relative(stateRoot, join(entry.parentPath, entry.name)))
            .sort()
        : [],
    close: () => {
      keepStateIn(usual)
      rmSync(root, { recursive: true })
    },
  }
}

/** Looks that find nothing, unless a row answers them itself. */
export const nothing = { 'flock *': '', 'iptables-save *': '', 'ip6tables-save *': '', 'conntrack *': '' } as const

// --- internal

/** In memory where that can be had: every record is synchronised with the disk. */
function quickDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK)
    return '/dev/shm'
  } catch {
    return tmpdir()
  }
}

/** Leases are real files: one without a directory of its own would be this machine's. */
function requireOwnLeases(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  const { type, dataDir } = value as { type?: unknown; dataDir?: unknown }
  if (type === 'host-local' && !dataDir) throw new Error('host-local of a unit test needs a dataDir of its own')
  for (const part of Object.values(value)) requireOwnLeases(part)
}

async function perform(row: Row, failing: number | undefined, memory: Memory | undefined): Promise<Performed> {
  if (row.verb === 'ADD') requireOwnLeases(row.config)
  const changes: string[] = []
  let [said, stdout, count] = ['', '', 0]
  const own = answering({ ...row.answers, '*': unanswered })
  const usual = answering(nothing)
  const look = (command: Command): Outcome => {
    const said = own(command)
    if (said.failure !== unanswered.failure) return said
    const told = memory?.run(command)
    return told ? { ...done, ...told } : usual(command)
  }
  const one = (command: Pick<Command, 'argv' | 'stdin'>): Outcome => {
    const made = changesOf(command)
    if (made.length === 0) return look(command as Command)
    count += 1
    if (count === failing) return { ...done, status: 1, stderr: refused(command) }
    const outcome = { ...done, ...memory?.run(command) }
    if (outcome.status === 0) changes.push(...made)
    return outcome
  }
  const files = holding(filesOf(row))
  const from = <T>(way: (files: Files) => T): T => {
    try {
      return way(files)
    } catch (thrown) {
      if (!memory) throw thrown
      return way(memory.files)
    }
  }
  const status = await main({
    plugin: row.plugin,
    env: environmentOf(row),
    stdin: () => inputOf(row),
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      said += text
    },
    run: (command) => (command.parts ? shell(command.parts, one) : one(command)),
    files: {
      read: (path) => from((one) => one.read(path)),
      readLink: (path) => from((one) => one.readLink(path)),
      list: (path) => from((one) => one.list(path)),
      write: (path, text) => void changes.push(`sysctl -w ${path.replace('/proc/sys/', '')}=${text}`),
    },
  })
  return { status, json: stdout === '' ? undefined : JSON.parse(stdout), changes, said }
}

/** Stands for a look that a row does not answer. */
const unanswered = { failure: 'unanswered' }

const done: Outcome = { status: 0, signal: null, stdout: '', stderr: '' }

/** Several commands as the shell of together.ts runs and reports them. */
function shell(
  parts: readonly Pick<Command, 'argv' | 'stdin'>[],
  one: (part: Pick<Command, 'argv' | 'stdin'>) => Outcome,
) {
  const outcomes: Outcome[] = []
  for (const part of parts) {
    const outcome = one(part)
    outcomes.push(outcome)
    if (outcome.status !== 0 && part.argv[0] !== 'nft') break
  }
  const stdout = outcomes.map(({ status }, index) => `${index} ${status}\n`).join('')
  return { ...done, stdout, extra: outcomes.flatMap(({ stderr }) => ['', stderr]) }
}

/** The changes that a command makes; none where it only looks. */
function changesOf({ argv, stdin = '' }: Pick<Command, 'argv' | 'stdin'>): readonly string[] {
  const isInside = argv[0] === 'nsenter'
  const [tool = '', ...words] = isInside ? argv.slice(2) : argv
  const where = isInside ? (argv[1] === `--net=${netns}` ? 'container# ' : `${argv[1]}# `) : ''
  const lines = stdin.split('\n').filter((line) => line !== '')
  const asLines = (of: string) => lines.map((line) => `${where}${of} ${line}`)
  if (tool === 'sh') {
    const settings = words.slice(3).map((word) => `${where}sysctl -w ${word.slice(1)}`)
    return [...settings, ...asLines('ip')]
  }
  if (words.some((word) => ['-j', 'list', 'show'].includes(word)) || tool.endsWith('-save')) return []
  if (tool === 'busctl')
    return words.some((word) => /^(add|remove)Source$/.test(word)) ? [[tool, ...words].join(' ')] : []
  if (tool === 'conntrack') return words.includes('-D') ? [[tool, ...words].join(' ')] : []
  if (tool.endsWith('-restore')) return ofTables(tool.replace('-restore', ''), lines)
  if (!words.includes('-batch') && !words.includes('-f')) return []
  return asLines(words[0] === '-6' ? `${tool} -6` : tool)
}

/** The lines of iptables-restore as iptables takes them. */
function ofTables(tool: string, lines: readonly string[]): readonly string[] {
  let table = ''
  return lines.flatMap((line) => {
    if (line.startsWith('*')) table = line.slice(1)
    return line.startsWith('*') || line === 'COMMIT' ? [] : [`${tool} -t ${table} ${line}`]
  })
}

/** What a tool says of the first line that it was given. */
function refused({ argv }: Pick<Command, 'argv'>): string {
  const isNft = argv.includes('nft')
  return isNft
    ? 'Error: Could not process rule: Operation not permitted\n'
    : 'RTNETLINK answers: Operation not permitted\nCommand failed -:1\n'
}
