import type { Outcome } from '../exec/command.js'
import { reasonOf } from '../exec/stderr.js'
import type { Part } from '../exec/together.js'
import type { Operation } from '../plan/operation.js'
import { neverRan, type Report, refusal, together, unclear } from '../plan/refusal.js'
import { assignmentOf, settingOf } from '../plan/setting.js'
import { batch, everyFailure, firstFailure, type Tools, text, within } from './batch.js'

/**
 * Settings one shell can take: its exit status names the one that was refused, and from 126 on means something else.
 */
export const mostSettings = 26

/** Settings of a namespace: a shell that writes them there and then becomes the `ip -batch` behind them. */
export function settingsPart(group: readonly Operation[]): Part {
  const settings = settingsOf(group)
  const words = settings.map((one) => `${one.tolerate?.includes('absent') ? '?' : '!'}${assignmentOf(one)}`)
  const argv = within(group[0]?.netns, 'sh', '-c', settingsThenBatch, 'sh', ...words)
  return { argv, stdin: text(group.slice(settings.length)) }
}

export function readSettings(group: readonly Operation[], outcome: Outcome, tools: Tools, keepGoing: boolean): Report {
  if (outcome.status === 0) return { ran: group, refused: [] }
  const settings = settingsOf(group)
  const behind = group.slice(settings.length)
  if (keepGoing && group.length > 1) return settingsOneByOne(settings, behind, tools)
  // A shell that did not find `ip` at its end has written the settings.
  if (neverRan(outcome) && !outcome.stderr.includes('exec: '))
    return { ran: [], refused: [refusal(settings[0] as Operation, outcome)] }
  const index = (outcome.status ?? 0) - firstSettingStatus
  const setting = settings[index]
  if (setting) return { ran: settings.slice(0, index), refused: [refusal(setting, outcome)] }
  const report = neverRan(outcome) ? unclear(behind, outcome) : firstFailure(behind, outcome)
  return report.unclear ? unclear(group, outcome) : { ...report, ran: [...settings, ...report.ran] }
}

/** A setting of the host: a write of its file, where it differs. */
export function writeSysctl([operation]: readonly Operation[], { files }: Tools): Report {
  if (!operation) return { ran: [], refused: [] }
  const { path, value } = settingOf(operation)
  try {
    if (files.read(path).trim() !== value) files.write(path, value)
    return { ran: [operation], refused: [] }
  } catch (thrown) {
    const stderr = (thrown as Error).message
    return { ran: [], refused: [{ operation, reason: reasonOf(stderr), stderr }] }
  }
}

// --- internal

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

function settingsOneByOne(settings: readonly Operation[], behind: readonly Operation[], tools: Tools): Report {
  const reports = settings.map((one) => readSettings([one], tools.run(settingsPart([one])), tools, false))
  if (behind.length > 0) reports.push(everyFailure(behind, tools.run(batch.part(behind, true))))
  return together(reports)
}
