import type { Files } from '../exec/files.js'
import type { Outcome, Run } from '../exec/run.js'
import { failedBatchLine, firstLine, type Reason, reasonOf } from '../exec/stderr.js'
import { CniError, codes } from '../protocol/errors.js'
import type { Operation, Tool } from './operation.js'
import { batchLine, renderOne, unquoted } from './render.js'

/** What applying needs of the world. */
export interface Hands {
  readonly run: Run
  readonly files: Files
}

/**
 * Runs a plan in order, in as few processes as its neighbours allow, and stops at the first refusal that the
 * operation does not tolerate. `done` hears of each operation that ran, at once: what the caller will undo.
 * @throws CniError naming the operation, with the command and the tool's stderr
 */
export function apply(plan: readonly Operation[], hands: Hands, done: (operation: Operation) => void): void {
  for (let rest = plan; rest.length > 0; ) {
    const reports = runNext(rest, hands, false)
    for (const { ran } of reports) ran.forEach(done)
    const refused = reports.flatMap((report) => report.refused)
    const fatal = refused.find((one) => !isTolerated(one))
    if (fatal) throw operationError(fatal)
    const settled = new Set([...reports.flatMap(({ ran }) => ran), ...refused.map(({ operation }) => operation)])
    rest = rest.filter((operation) => !settled.has(operation))
  }
}

/** Runs every operation of a plan whatever the others say, and returns what was refused and not tolerated. */
export function sweep(plan: readonly Operation[], hands: Hands): readonly CniError[] {
  const failures: CniError[] = []
  for (let rest = plan; rest.length > 0; ) {
    const reports = runNext(rest, hands, true)
    const refused = reports.flatMap((report) => report.refused)
    failures.push(...refused.filter((one) => !isTolerated(one)).map(operationError))
    rest = rest.slice(reports.reduce((sum, { ran, refused }) => sum + ran.length + refused.length, 0))
  }
  return failures
}

// --- internal

interface Refusal {
  readonly operation: Operation
  readonly reason: Reason
  readonly stderr: string
  readonly missingTool?: string
}

/** The operations that ran, and those refused: without `keepGoing` at most one, and none behind it was tried. */
interface Report {
  readonly ran: readonly Operation[]
  readonly refused: readonly Refusal[]
}

/** Neighbours of one tool: run in a process of their own, or as a part of one, whose outcome is then read. */
interface Tool_ {
  readonly part?: (group: readonly Operation[], keepGoing: boolean) => Part
  readonly read?: (group: readonly Operation[], outcome: Outcome, hands: Hands, keepGoing: boolean) => Report
  readonly run?: (group: readonly Operation[], hands: Hands, keepGoing: boolean) => Report
}

const batch: Tool_ = { part: batchPart, read: readBatch }
const tools: Record<Tool, Tool_> = {
  ip: batch,
  bridge: batch,
  tc: batch,
  nft: { part: transactionPart, read: readTransaction },
  iptables: { run: runRestore },
  ip6tables: { run: runRestore },
  sysctl: { run: runSysctl },
  conntrack: { run: runSingle },
}

/** The longest run of neighbours that one process can do. */
function firstGroup(plan: readonly Operation[]): readonly Operation[] {
  const [first] = plan as [Operation, ...Operation[]]
  if (first.tool === 'conntrack' || (first.tool === 'sysctl' && first.netns === undefined)) return [first]
  const end = plan.findIndex((one) => one.tool !== first.tool || one.netns !== first.netns)
  const group = end < 0 ? plan : plan.slice(0, end)
  if (first.tool !== 'sysctl') return group
  const batch = plan.slice(group.length).findIndex((one) => one.tool !== 'ip' || one.netns !== first.netns)
  return batch < 0 ? plan : plan.slice(0, group.length + batch)
}

function runBatch(group: readonly Operation[], { run }: Hands, keepGoing: boolean): Report {
  const [{ tool, netns }] = group as [Operation]
  const argv = within(netns, tool, ...(keepGoing ? ['-force'] : []), '-batch', '-')
  const outcome = run({ argv, stdin: text(group) })
  return keepGoing ? everyFailure(group, outcome, tool) : firstFailure(group, outcome, tool)
}

function firstFailure(group: readonly Operation[], outcome: Outcome, tool: string): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const index = (failedBatchLine(outcome.stderr) ?? 1) - 1
  const operation = group[index] ?? (group[0] as Operation)
  return { ran: group.slice(0, index), refused: [refusal(operation, outcome, tool)] }
}

/** `-force` reports each failing line as its own "Command failed -:N" behind the reason. */
function everyFailure(group: readonly Operation[], outcome: Outcome, tool: string): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const refused: Refusal[] = []
  let stderr = ''
  for (const line of outcome.stderr.split('\n')) {
    stderr += `${line}\n`
    const number = failedBatchLine(line)
    const operation = number === undefined ? undefined : group[number - 1]
    if (!operation) continue
    refused.push(refusal(operation, { ...outcome, stderr }, tool))
    stderr = ''
  }
  if (refused.length === 0) refused.push(...group.map((operation) => refusal(operation, outcome, tool)))
  return { ran: group.filter((one) => !refused.some(({ operation }) => operation === one)), refused }
}

/**
 * `nft -f` is atomic. Declarations are sent only when the kernel says something is absent: declaring what exists costs
 * the kernel 7 to 13 ms each time (bench/RESULTS.md), adding to it nothing. A sweep that fails is split until the
 * culprits stand alone.
 */
function runTransaction(group: readonly Operation[], hands: Hands, keepGoing: boolean): Report {
  const { run } = hands
  const [{ netns }] = group as [Operation]
  const argv = within(netns, 'nft', '-f', '-')
  let lines: readonly Operation[] = group
  let outcome = run({ argv, stdin: text(lines) })
  for (const [reason, key] of remedies) {
    const first = distinct(group.flatMap((operation) => operation[key] ?? []))
    if (outcome.status === 0 || first.length === 0 || reasonOf(outcome.stderr) !== reason) continue
    lines = [...first, ...lines]
    outcome = run({ argv, stdin: text(lines) })
  }
  if (outcome.status === 0) return { ran: group, refused: [] }
  if (!keepGoing || group.length === 1) return { ran: [], refused: [refusal(group[0] as Operation, outcome, 'nft')] }
  return inHalves(group, (half) => runTransaction(half, hands, true))
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
  return { ran: [], refused: [refusal(part[0] as Operation, outcome, `${tool}-restore`)] }
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

/** In the host a write of the file; in a namespace a shell that writes the settings and then becomes `ip -batch`. */
function runSysctl(group: readonly Operation[], hands: Hands, keepGoing: boolean): Report {
  const [first] = group as [Operation]
  if (first.netns === undefined) return writeSysctl(first, hands)
  const settings = group.filter(({ tool }) => tool === 'sysctl')
  const batch = group.slice(settings.length)
  const words = settings.map((one) => `${one.tolerate?.includes('absent') ? '?' : '!'}${assignmentOf(one)}`)
  const argv = within(first.netns, 'sh', '-c', settingsThenBatch, 'sh', ...words)
  const outcome = hands.run({ argv, stdin: text(batch) })
  if (outcome.status === 0) return { ran: group, refused: [] }
  if (keepGoing && group.length > 1) return runSysctlsOneByOne(settings, batch, hands)
  const index = (outcome.status ?? 0) - firstSettingStatus
  const setting = settings[index]
  if (setting) return { ran: settings.slice(0, index), refused: [refusal(setting, outcome, 'sh')] }
  const { ran, refused } = firstFailure(batch.length > 0 ? batch : settings, outcome, 'nsenter')
  return { ran: [...settings, ...ran], refused }
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

function runSysctlsOneByOne(settings: readonly Operation[], batch: readonly Operation[], hands: Hands): Report {
  const reports = settings.map((one) => runSysctl([one], hands, false))
  if (batch.length > 0) reports.push(runBatch(batch, hands, true))
  return { ran: reports.flatMap(({ ran }) => ran), refused: reports.flatMap(({ refused }) => refused) }
}

/** "key=value" of an operation; in quotes where the value has spaces. */
function assignmentOf({ argv }: Operation): string {
  return unquoted(argv[1] ?? '')
}

function writeSysctl(operation: Operation, { files }: Hands): Report {
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
  return { ran: [], refused: [refusal(operation, outcome, operation.tool)] }
}

function within(netns: string | undefined, tool: string, ...words: string[]): [string, ...string[]] {
  return netns === undefined ? [tool, ...words] : ['nsenter', `--net=${netns}`, tool, ...words]
}

function text(group: readonly Operation[]): string {
  return group.map((one) => `${batchLine(one)}\n`).join('')
}

function refusal(operation: Operation, outcome: Outcome, tool: string): Refusal {
  if (outcome.failure === 'ENOENT') {
    const missingTool = operation.netns === undefined ? tool : 'nsenter'
    return { operation, reason: 'other', stderr: '', missingTool }
  }
  const why = outcome.failure ?? (outcome.signal ? `killed by ${outcome.signal}` : `exit status ${outcome.status}`)
  const stderr = outcome.stderr.trim() === '' ? why : outcome.stderr
  return { operation, reason: reasonOf(stderr), stderr }
}

function isTolerated({ operation, reason, missingTool }: Refusal): boolean {
  return missingTool === undefined && (operation.tolerate?.includes(reason) ?? false)
}

const packages: Partial<Record<string, string>> = { nft: 'nftables', nsenter: 'util-linux', conntrack: 'conntrack' }

function operationError({ operation, reason, stderr, missingTool }: Refusal): CniError {
  if (missingTool !== undefined) {
    return new CniError(codes.toolMissing, `cannot ${operation.why}: the program "${missingTool}" is not installed`, {
      details: `command: ${renderOne(operation)}`,
      fix: `install the package ${packages[missingTool] ?? (missingTool.includes('tables') ? 'iptables' : 'iproute2')}`,
    })
  }
  const meaning = operation.meaning?.[reason]
  const code = meaning?.code ?? (reason === 'unsupported' ? codes.featureMissing : codes.operationFailed)
  return new CniError(code, `cannot ${operation.why}: ${firstLine(stderr)}`, {
    details: `command: ${renderOne(operation)}\nstderr: ${stderr.trim()}`,
    ...(meaning ? { fix: meaning.fix } : {}),
  })
}
