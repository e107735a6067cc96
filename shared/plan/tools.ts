import type { Files } from '../exec/files.js'
import type { Outcome, Run } from '../exec/run.js'
import { failedBatchLine, firstLine, type Reason, reasonOf, wrongArgument } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import { CniError, codes } from '../protocol/errors.js'
import type { Operation, Tool } from './operation.js'
import { batchLine, renderOne, unquoted } from './render.js'

/** What applying needs of the world. */
export interface Hands {
  readonly run: Run
  readonly files: Files
}

export interface Refusal {
  readonly operation: Operation
  readonly reason: Reason
  readonly stderr: string
  readonly missingTool?: string
}

/** The operations that ran, and those refused: without `keepGoing` at most one, and none behind it was tried. */
export interface Report {
  readonly ran: readonly Operation[]
  readonly refused: readonly Refusal[]
}

/** How a tool's neighbouring operations run: as one command whose outcome is read, or in a way of their own. */
export type Handling =
  | {
      readonly part: (group: readonly Operation[], keepGoing: boolean) => Part
      readonly read: (group: readonly Operation[], outcome: Outcome, hands: Hands, keepGoing: boolean) => Report
    }
  | { readonly run: (group: readonly Operation[], hands: Hands, keepGoing: boolean) => Report }

export function handlingOf(group: readonly Operation[]): Handling {
  const { tool, netns } = group[0] as Operation
  return tool === 'sysctl' && netns === undefined ? { run: writeSysctl } : handlings[tool]
}

/** True where the group's output is wanted: then it needs a process of its own. */
export function asks(group: readonly Operation[]): boolean {
  return group.some(({ answer }) => answer !== undefined)
}

export function isTolerated({ operation, reason, missingTool }: Refusal): boolean {
  return missingTool === undefined && (operation.tolerate?.includes(reason) ?? false)
}

/** The family that an `ip` command is for where its words do not show it, as those of a rule: "-6" or none. */
export function familyOption({ argv }: Operation): string | undefined {
  return argv[0] === '-6' ? argv[0] : undefined
}

/** A refusal as the user reads it. */
export function operationError({ operation, reason, stderr, missingTool }: Refusal): CniError {
  if (missingTool !== undefined) {
    return new CniError(codes.toolMissing, `cannot ${operation.why}: the program "${missingTool}" is not installed`, {
      details: `command: ${renderOne(operation)}`,
      fix: `install the package ${packages[missingTool] ?? (missingTool.includes('tables') ? 'iptables' : 'iproute2')}`,
    })
  }
  const meaning = operation.meaning?.[reason]
  const code = meaning?.code ?? (reason === 'unsupported' ? codes.featureMissing : codes.operationFailed)
  return new CniError(code, meaning?.says ?? `cannot ${operation.why}: ${firstLine(stderr)}`, {
    details: `command: ${renderOne(operation)}\nstderr: ${stderr.trim()}`,
    ...(meaning ? { fix: meaning.fix } : {}),
  })
}

// --- internal

const batch = {
  part: (group: readonly Operation[], keepGoing: boolean): Part => {
    const [first] = group as [Operation]
    const family = familyOption(first)
    const options = [
      ...(family ? [family] : []),
      ...(asks(group) ? ['-j', '-d'] : []),
      ...(keepGoing ? ['-force'] : []),
    ]
    const lines = family ? group.map((one) => ({ ...one, argv: one.argv.slice(1) })) : group
    return { argv: within(first.netns, first.tool, ...options, '-batch', '-'), stdin: text(lines) }
  },
  read: (group: readonly Operation[], outcome: Outcome, _: Hands, keepGoing: boolean): Report => {
    const answers = outcome.stdout.split('\n').filter((line) => line !== '')
    const questions = group.filter(({ answer }) => answer)
    for (const [index, text] of answers.entries()) questions[index]?.answer?.(text)
    return (keepGoing ? everyFailure : firstFailure)(group, outcome)
  },
}

const handlings: Record<Tool, Handling> = {
  ip: batch,
  bridge: batch,
  tc: batch,
  nft: { part: transaction, read: readTransaction },
  iptables: { run: runRestore },
  ip6tables: { run: runRestore },
  'iptables-legacy': { run: runRestore },
  'ip6tables-legacy': { run: runRestore },
  sysctl: { part: settingsPart, read: readSettings },
  conntrack: { run: runSingle },
  runcon: { run: runSingle },
}

const packages: Partial<Record<string, string>> = {
  nft: 'nftables',
  nsenter: 'util-linux',
  conntrack: 'conntrack',
  runcon: 'coreutils',
}

function firstFailure(group: readonly Operation[], outcome: Outcome): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const line = failedBatchLine(outcome.stderr)
  const index = line === undefined ? unreadable(group, outcome.stderr) : line - 1
  const operation = group[index] ?? (group[0] as Operation)
  return { ran: group.slice(0, index), refused: [refusal(operation, outcome)] }
}

/** What stood before a line that the tool could not even read has run. */
function unreadable(group: readonly Operation[], stderr: string): number {
  const word = wrongArgument(stderr)
  return word === undefined
    ? 0
    : Math.max(
        group.findIndex(({ argv }) => argv.includes(word)),
        0,
      )
}

/** `-force` reports each failing line as its own "Command failed -:N" behind the reason. */
function everyFailure(group: readonly Operation[], outcome: Outcome): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const refused: Refusal[] = []
  let stderr = ''
  for (const line of outcome.stderr.split('\n')) {
    stderr += `${line}\n`
    const number = failedBatchLine(line)
    const operation = number === undefined ? undefined : group[number - 1]
    if (!operation) continue
    refused.push(refusal(operation, { ...outcome, stderr }))
    stderr = ''
  }
  if (refused.length === 0) refused.push(...group.map((operation) => refusal(operation, outcome)))
  return { ran: group.filter((one) => !refused.some(({ operation }) => operation === one)), refused }
}

/**
 * `nft -f` is atomic. Declarations are sent only when the kernel says something is absent: declaring what exists costs
 * the kernel 7 to 13 ms each time (bench/RESULTS.md), adding to it nothing. A sweep that fails is split until the
 * culprits stand alone.
 */
function readTransaction(group: readonly Operation[], first: Outcome, hands: Hands, keepGoing: boolean): Report {
  let lines = group
  let outcome = first
  for (const [reason, key] of remedies) {
    const before = distinct(group.flatMap((operation) => operation[key] ?? []))
    if (outcome.status === 0 || before.length === 0 || reasonOf(outcome.stderr) !== reason) continue
    lines = [...before, ...lines]
    outcome = hands.run(transaction(lines))
  }
  if (outcome.status === 0) return { ran: group, refused: [] }
  if (!keepGoing || group.length === 1) return { ran: [], refused: [refusal(group[0] as Operation, outcome)] }
  return inHalves(group, (half) => readTransaction(half, hands.run(transaction(half)), hands, true))
}

function transaction(group: readonly Operation[]): Part {
  return { argv: within(group[0]?.netns, 'nft', '-f', '-'), stdin: text(group) }
}

/** What to send first when the kernel refuses a transaction for a reason that can be mended. */
const remedies = [
  ['absent', 'needs'],
  ['exists', 'displaces'],
] as const

function distinct(operations: readonly Operation[]): readonly Operation[] {
  return [...new Map(operations.map((one) => [batchLine(one), one])).values()]
}

function runRestore(group: readonly Operation[], hands: Hands, keepGoing: boolean): Report {
  const ran: Operation[] = []
  const refused: Refusal[] = []
  for (const part of tables(group)) {
    const report = restoreTable(part, hands, keepGoing)
    ran.push(...report.ran)
    refused.push(...report.refused)
    if (refused.length > 0 && !keepGoing) break
  }
  return { ran, refused }
}

/** iptables-restore takes a table's lines as one transaction; a sweep that fails is split as for nft. */
function restoreTable(part: readonly Operation[], hands: Hands, keepGoing: boolean): Report {
  const [{ tool, netns, argv }] = part as [Operation]
  const rules = part.map((one) => batchLine({ ...one, argv: one.argv.slice(2) }))
  const stdin = [`*${argv[1]}`, ...rules, 'COMMIT', ''].join('\n')
  const outcome = hands.run({ argv: within(netns, `${tool}-restore`, '--noflush', '--wait'), stdin })
  if (outcome.status === 0) return { ran: part, refused: [] }
  if (keepGoing && part.length > 1) return inHalves(part, (half) => restoreTable(half, hands, true))
  return { ran: [], refused: [refusal(part[0] as Operation, outcome)] }
}

function inHalves(group: readonly Operation[], runHalf: (half: readonly Operation[]) => Report): Report {
  const middle = group.length >> 1
  const [left, right] = [runHalf(group.slice(0, middle)), runHalf(group.slice(middle))]
  return { ran: [...left.ran, ...right.ran], refused: [...left.refused, ...right.refused] }
}

/** Neighbours of one table; every iptables operation begins with `-t TABLE`. */
function tables(group: readonly Operation[]): Operation[][] {
  const parts: Operation[][] = []
  for (const operation of group) {
    const last = parts.at(-1)
    if (last?.[0]?.argv[1] === operation.argv[1]) last?.push(operation)
    else parts.push([operation])
  }
  return parts
}

/** Settings of a namespace: a shell that writes them there and then becomes the `ip -batch` behind them. */
function settingsPart(group: readonly Operation[]): Part {
  const settings = settingsOf(group)
  const words = settings.map((one) => `${one.tolerate?.includes('absent') ? '?' : '!'}${assignmentOf(one)}`)
  const argv = within(group[0]?.netns, 'sh', '-c', settingsThenBatch, 'sh', ...words)
  return { argv, stdin: text(group.slice(settings.length)) }
}

function readSettings(group: readonly Operation[], outcome: Outcome, hands: Hands, keepGoing: boolean): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const settings = settingsOf(group)
  const behind = group.slice(settings.length)
  if (keepGoing && group.length > 1) return settingsOneByOne(settings, behind, hands)
  const index = (outcome.status ?? 0) - firstSettingStatus
  const setting = settings[index]
  if (setting) return { ran: settings.slice(0, index), refused: [refusal(setting, outcome)] }
  const { ran, refused } = firstFailure(behind.length > 0 ? behind : settings, outcome)
  return { ran: [...settings, ...ran], refused }
}

function settingsOf(group: readonly Operation[]): readonly Operation[] {
  return group.filter(({ tool }) => tool === 'sysctl')
}

const firstSettingStatus = 100

/** Constant text: what varies comes as arguments ("!key=value", "?" where an absent key is fine) and on stdin. */
const settingsThenBatch = `n=${firstSettingStatus}
for setting; do
  assignment=\${setting#?} file=/proc/sys/\${assignment%%=*}
  case $setting in '?'*) [ -e "$file" ] || { n=$((n + 1)); continue; } ;; esac
  printf %s "\${assignment#*=}" >"$file" || exit $n
  n=$((n + 1))
done
exec ip -batch -`

function settingsOneByOne(settings: readonly Operation[], behind: readonly Operation[], hands: Hands): Report {
  const reports = settings.map((one) => readSettings([one], hands.run(settingsPart([one])), hands, false))
  if (behind.length > 0) reports.push(everyFailure(behind, hands.run(batch.part(behind, true))))
  return { ran: reports.flatMap(({ ran }) => ran), refused: reports.flatMap(({ refused }) => refused) }
}

/** "key=value" of an operation; in quotes where the value has spaces. */
function assignmentOf({ argv }: Operation): string {
  return unquoted(argv[1] ?? '')
}

/** A setting of the host: a write of its file, where it differs. */
function writeSysctl([operation]: readonly Operation[], { files }: Hands): Report {
  if (!operation) return { ran: [], refused: [] }
  const assignment = assignmentOf(operation)
  const equals = assignment.indexOf('=')
  const [path, value] = [`/proc/sys/${assignment.slice(0, equals)}`, assignment.slice(equals + 1)]
  try {
    if (files.read(path).trim() !== value) files.write(path, value)
    return { ran: [operation], refused: [] }
  } catch (thrown) {
    const stderr = (thrown as Error).message
    return { ran: [], refused: [{ operation, reason: reasonOf(stderr), stderr }] }
  }
}

/** A tool that takes one change a process. */
function runSingle(group: readonly Operation[], { run }: Hands): Report {
  const [operation] = group as [Operation]
  const outcome = run({ argv: within(operation.netns, operation.tool, ...operation.argv) })
  if (outcome.status === 0) return { ran: [operation], refused: [] }
  return { ran: [], refused: [refusal(operation, outcome)] }
}

function within(netns: string | undefined, tool: string, ...words: string[]): [string, ...string[]] {
  return netns === undefined ? [tool, ...words] : ['nsenter', `--net=${netns}`, tool, ...words]
}

function text(group: readonly Operation[]): string {
  return group.map((one) => `${batchLine(one)}\n`).join('')
}

function refusal(operation: Operation, outcome: Outcome): Refusal {
  if (outcome.failure === 'ENOENT') {
    const { tool, netns } = operation
    const missingTool = netns !== undefined ? 'nsenter' : tool.includes('tables') ? `${tool}-restore` : tool
    return { operation, reason: 'other', stderr: '', missingTool }
  }
  const why = outcome.failure ?? (outcome.signal ? `killed by ${outcome.signal}` : `exit status ${outcome.status}`)
  const stderr = outcome.stderr.trim() === '' ? why : outcome.stderr
  return { operation, reason: reasonOf(stderr), stderr }
}
